"""An event of the very second of a decision excuses what it explains, and no skew beside it."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from tests.desks import NOON, FakeFeatureStore, desk_of, playbook_of
from tests.e2e.test_next_decision import PLAYBOOK, viewed

from opportune.adapters.duckdb_offline import DuckDbOffline
from opportune.domain.decisions import Ask
from opportune.domain.events import EventKind
from opportune.flows import reads
from opportune.flows.consistency import ConsistencyReport, check
from opportune.flows.decide import decide
from opportune.flows.desk import Desk
from opportune.flows.ingest import ingest

HOUR = timedelta(hours=1)


def asked(desk: Desk) -> None:
    """One decision at NOON for c1, who viewed something an hour ago."""
    ingest([viewed("c1", "m1", NOON - HOUR), viewed("c2", "m2", NOON - 2 * HOUR)], [], desk.ledger, desk.playbook,
           desk.clock)  # fmt: skip
    decide([Ask(customer_id="c1")], desk)


def checked(tmp_path: Path, desk: Desk) -> ConsistencyReport:
    """What a check of all decisions finds."""
    return check(desk.ledger, DuckDbOffline(tmp_path), desk.clock)


def desk_at_noon(tmp_path: Path) -> Desk:
    return desk_of(playbook_of(tmp_path / "playbook", PLAYBOOK), features=FakeFeatureStore())


def test_an_event_committed_just_after_the_decision_read_is_no_skew(tmp_path: Path) -> None:
    """Received before the decision, stored half a second after: what was served is what was there; a later merge is
    no matter."""
    desk = desk_at_noon(tmp_path)
    asked(desk)
    racing = replace(viewed("c1", "m3", NOON - timedelta(microseconds=1)), ingested_at=NOON + HOUR / 7200)
    link = replace(viewed("c1", "m4", NOON + HOUR), kind=EventKind.IDENTIFY, name="Identified", anonymous_id="a9")
    other = replace(viewed("c1", "m5", NOON - 2 * HOUR), user_id=None, anonymous_id="a9")
    ingest([racing, link, other], [], desk.ledger, desk.playbook, desk.clock)
    found = checked(tmp_path, desk)
    assert (found.n_raced, found.consistency.share, found.consistency.n_rows) == (1, 0.0, 0)


def test_a_wrong_state_is_found_although_an_event_came_in_that_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Most decisions are asked for right after an event: that alone excuses nothing where every feature is served."""
    monkeypatch.setattr(reads, "WHOLE_EVERY", 1)
    desk = desk_at_noon(tmp_path)
    ingest([viewed("c1", f"x{i}", NOON - i * HOUR) for i in range(3)], [], desk.ledger, desk.playbook, desk.clock)
    ingest([viewed("c2", "y", NOON - HOUR)], [], desk.ledger, desk.playbook, desk.clock)
    with desk.ledger.begin(["c1", "c2"]) as uow:
        rows = uow.states.get(["c1", "c2"])
        uow.states.put([replace(rows["c2"], customer_id="c1", version=rows["c1"].version + 1)])
    decide([Ask(customer_id="c1")], desk)
    found = checked(tmp_path, desk)
    assert found.n_raced == 0
    assert found.consistency.is_alarming
