"""The worker dies by SIGKILL, again and again, in the middle of timers and messages."""

from pathlib import Path

import pytest
from tests.e2e.kills import kill_workers


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgres", marks=pytest.mark.service)])
def test_five_kills_during_5000_timers_and_messages_lose_and_double_nothing(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Each timer fires once, each message is sent once; handed over again is only what was in hand at a kill, under the
    same message id."""
    url = f"sqlite:///{tmp_path}/ledger.db" if kind == "sqlite" else request.getfixturevalue("postgres_url")
    count = kill_workers(url, tmp_path / "work", n_timers=5000, n_kills=5)
    assert count.is_well, count
