"""`opportune.open`: the log as frames, in a notebook, without a server."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pytest

import opportune
from opportune.adapters.system_clock import FixedClock
from opportune.domain.decisions import Ask
from opportune.facade import Home
from opportune.flows.decide import decide
from opportune.flows.deliver import report_status
from opportune.settings import Settings
from opportune.wiring import Installation

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    """Two customers, decided about a day apart; one message was clicked."""
    clock = FixedClock(NOW)
    installation = Installation(Settings(home=tmp_path / "home"), clock)
    found = Home(installation)
    traits = {"email": "x@example.org", "timezone": "Europe/London"}
    lines = [{"type": "identify", "userId": c, "traits": traits, "timestamp": NOW.isoformat()} for c in ("c1", "c2")]
    events = tmp_path / "events.jsonl"
    events.write_bytes(b"\n".join(map(orjson.dumps, lines)))
    assert found.ingest(events)["n_accepted"] == 2
    for customer in ("c1", "c2"):
        [decision] = decide([Ask(customer_id=customer)], installation.desk)
        clock.advance(clock.now() + timedelta(days=1))
    message = decision.messages[0].message_id if decision.messages else None
    if message:
        report_status(message, "clicked", None, None, installation.ledger, clock)
    yield found
    found.close()


def test_the_log_comes_as_frames_with_stable_columns_and_instants(home: Home) -> None:
    """One row per decision; bounds are [since, until); JSON stays text; units are pseudonyms."""
    frame = home.decisions()
    assert frame["customer_id"].tolist() == ["c1", "c2"]
    assert str(frame["decided_at"].dtype) == "datetime64[us, UTC]"
    assert not set(frame["unit"]) & {"c1", "c2"}
    assert orjson.loads(frame["removed"][0])
    assert home.decisions(since="2026-03-03T12:00:00")["customer_id"].tolist() == ["c2"]
    assert home.decisions(until=NOW + timedelta(days=1))["customer_id"].tolist() == ["c1"]


def test_empty_frames_keep_their_columns_and_arrow_is_the_same_table(home: Home) -> None:
    """So that a notebook written for a full log runs on an empty one."""
    assert list(home.exposures().columns) == ["experiment", "variation", "unit", "customer_id", "decision_id", "at"]
    assert home.outcomes(since="2030-01-01").empty
    for name in ("decisions", "messages", "outcomes"):
        table = home.to_arrow(name)
        assert table.column_names == list(getattr(home, name)().columns)
        assert table.num_rows == len(getattr(home, name)())
    with pytest.raises(ValueError, match="there is no frame 'sends'"):
        home.to_arrow("sends")  # type: ignore[arg-type]


def test_a_decision_is_a_dry_run_unless_said_otherwise_and_bad_asks_are_told(home: Home) -> None:
    """Looking does not change the log."""
    answer = home.decide("c1", channels=["email"])
    assert answer["customer_id"] == "c1"
    assert len(home.decisions()) == 2
    with pytest.raises(ValueError, match="has no trigger 'nope'"):
        home.decide("c1", trigger="nope")
    with pytest.raises(ValueError, match="has no zone"):
        home.decisions(since=datetime(2026, 1, 1))  # noqa: DTZ001
    with pytest.raises(KeyError):
        home.explain("d-none")
    assert "Decision d-" in home.explain(home.decisions()["decision_id"][0])


def test_open_takes_a_home_and_a_playbook_beside_the_environment(tmp_path: Path) -> None:
    """Nothing is written anywhere else."""
    with opportune.open(tmp_path / "here") as home:
        assert len(home.decisions()) == 0
        assert home.report("2026-01-01")["campaigns"] == []
    assert (tmp_path / "here" / "ledger.db").exists()
