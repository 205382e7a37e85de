"""Caps hold under any concurrency: eight processes, the same customers and accounts, merges, both databases."""

from pathlib import Path

import pytest
from tests.e2e.caps_load import N_PAIRS, attack

N_PROCESSES, N_ASKS = 8, 250


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgres", marks=pytest.mark.service)])
def test_eight_processes_never_exceed_a_cap_and_grant_exactly_what_it_allows(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """2,000 decisions from 8 processes while pairs merge: no cap exceeded, every free place given, no error."""
    url = f"sqlite:///{tmp_path}/ledger.db" if kind == "sqlite" else request.getfixturevalue("postgres_url")
    tally = attack(url, tmp_path / "playbook", N_PROCESSES, N_ASKS)
    assert tally.wrong == ()
    assert (tally.n_asked, tally.n_merged) == (N_PROCESSES * N_ASKS, N_PAIRS)
