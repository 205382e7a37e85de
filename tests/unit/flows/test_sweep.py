"""The sweep and the notes: everybody is looked at once, in chunks, by one worker at a time; imports fire nothing."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.desks import desk_of, playbook_of
from tests.unit.flows.ingesting import event, identify

from opportune.adapters.system_clock import FixedClock
from opportune.domain.events import Origin
from opportune.domain.timers import TimerFate
from opportune.flows.desk import Desk
from opportune.flows.fire import fire
from opportune.flows.ingest import ingest
from opportune.flows.sweep import look_round, next_look_at, sweep
from opportune.flows.watch import review
from opportune.ports import Ledger

T0 = datetime(2026, 3, 1, tzinfo=UTC)
PLAYBOOK = """
topics: {t: {}}
consent: {default: {"*": in}}
audiences: {buyers: features.orders_n_all >= 1}
triggers:
  bday: {date: traits.birthday, every: year}
  miss: {inactive_for: 30d}
  joined: {entered: buyers}
  refill: {on: {event: Order Completed}, window: 2d, usual: 10d}
  keen: {on: {event: Product Viewed}, at_least: 2, in: 1d}
  points: {milestone: properties.points, on: {event: Points}, levels: [10]}
campaigns:
"""
CAMPAIGNS = "".join(
    f"  {n}: {{trigger: {n}, topic: t, channels: [inapp], content: {{inapp: {{body: x}}}}}}\n"
    for n in ("bday", "miss", "joined", "refill", "keen", "points")
)


def a_desk(folder: Path, ledger: Ledger | None = None) -> Desk:
    return desk_of(playbook_of(folder, PLAYBOOK + CAMPAIGNS), ledger=ledger, clock=FixedClock(T0))


def clock_of(desk: Desk) -> FixedClock:
    assert isinstance(desk.clock, FixedClock)
    return desk.clock


def take(desk: Desk, *events) -> None:  # type: ignore[no-untyped-def]
    ingest(events, (), desk.ledger, desk.playbook, desk.clock)


def pending(desk: Desk, customer_id: str = "c1") -> dict[str, datetime]:
    with desk.ledger.read() as uow:
        return {t.rule: t.due_at for t in uow.timers.of([customer_id]).get(customer_id, [])}


def test_every_mechanism_works_on_every_ledger(ledger: Ledger, tmp_path: Path) -> None:
    """Planned, heard, watched, notes and sweep: the same on memory, SQLite and PostgreSQL."""
    desk = a_desk(tmp_path, ledger)
    take(desk, identify(-1, "c1", birthday="1990-03-10", timezone="Europe/London"))
    take(
        desk,
        event("Order Completed", -1),
        event("Product Viewed", -0.5),
        event("Points", -0.2, properties={"points": 11}),
    )
    take(desk, event("Product Viewed", -0.1))
    while look_round(desk, "w"):
        pass
    last = T0 - timedelta(hours=0.1)
    assert pending(desk) == {
        "bday": datetime(2026, 3, 10, 9, tzinfo=UTC),
        "miss": last + timedelta(days=30),
        "joined": T0,
        "refill": T0 - timedelta(hours=1) + timedelta(days=8),
        "keen": T0,
        "points": T0,
    }
    assert fire(desk, "w").n_fired == 3
    clock_of(desk).advance(datetime(2026, 3, 10, 9, tzinfo=UTC))
    assert fire(desk, "w").n_fired == 2
    assert pending(desk)["bday"] == datetime(2027, 3, 10, 9, tzinfo=UTC)


def test_a_birthday_missed_while_nobody_worked_is_dropped_and_the_next_is_planned(tmp_path: Path) -> None:
    """Two days late it has expired; next year's is set in the same transaction."""
    desk = a_desk(tmp_path)
    take(desk, identify(-1, "c1", birthday="1990-03-10"))
    clock_of(desk).advance(T0 + timedelta(days=12))
    assert fire(desk, "w").n_dropped == 1
    with desk.ledger.read() as uow:
        assert [p.fate for p in uow.timers.past(["c1"], T0)["c1"]] == [TimerFate.EXPIRED]
    assert pending(desk)["bday"] == datetime(2027, 3, 10, 9, tzinfo=UTC)


def test_an_occurrence_that_met_the_end_of_its_trigger_is_over(tmp_path: Path) -> None:
    """Due before `ends_at`, claimed after it: dropped once, not planned again and again."""
    text = (PLAYBOOK + CAMPAIGNS).replace("every: year}", "every: year, ends_at: 2026-03-10T09:00:01}")
    desk = desk_of(playbook_of(tmp_path, text), clock=FixedClock(T0))
    take(desk, identify(-1, "c1", birthday="1990-03-10"))
    clock_of(desk).advance(datetime(2026, 3, 10, 9, 0, 2, tzinfo=UTC))
    assert [fire(desk, "w").n_dropped for _ in range(2)] == [1, 0]
    assert "bday" not in pending(desk)


def test_a_sweep_goes_on_where_another_worker_stopped(tmp_path: Path) -> None:
    """Chunks of two over five customers; the second worker waits for the lease, then takes the rest."""
    desk = a_desk(tmp_path)
    plain = replace(desk, playbook=playbook_of(tmp_path / "plain", "topics: {t: {}}\n"))
    take(plain, *[identify(-1, f"c{n}", birthday="1990-03-10") for n in range(5)])
    assert sweep(desk, "one", chunk=2) == 2
    assert sweep(desk, "two", chunk=2) == 0
    clock_of(desk).advance(T0 + timedelta(seconds=61))
    assert [sweep(desk, "two", chunk=2) for _ in range(4)] == [2, 1, 1, 0]
    assert all("bday" in pending(desk, f"c{n}") for n in range(5))
    assert next_look_at(desk.ledger, desk.playbook, desk.clock.now()) == T0 + timedelta(days=1)


def test_a_playbook_without_such_triggers_is_never_swept(tmp_path: Path) -> None:
    """No note, no look, nothing to wait for."""
    desk = replace(a_desk(tmp_path), playbook=playbook_of(tmp_path / "plain", "topics: {t: {}}\n"))
    take(desk, event("Order Completed", -1))
    assert look_round(desk, "w") == 0
    assert next_look_at(desk.ledger, desk.playbook, T0) is None
    with desk.ledger.read() as uow:
        assert uow.outbox.depth("review") == uow.outbox.depth("settle") == 0


@pytest.mark.parametrize("origin", [Origin.IMPORT, Origin.LIVE])
def test_imports_move_sides_and_fire_nothing(tmp_path: Path, origin: Origin) -> None:
    """A live first order makes a buyer join; an imported one does so silently, and the next live one fires nothing."""
    desk = a_desk(tmp_path)
    take(desk, identify(-2, "c1"))
    take(
        desk, event("Order Completed", -1, origin=origin), event("Points", -1, origin=origin, properties={"points": 20})
    )
    review(desk)
    is_live = origin is Origin.LIVE
    assert {"joined", "points"} & set(pending(desk)) == ({"joined", "points"} if is_live else set())
    take(desk, event("Order Completed", -0.5), event("Points", -0.5, properties={"points": 30}))
    review(desk)
    assert {"joined", "points"} & set(pending(desk)) == ({"joined", "points"} if is_live else set())


def test_a_merge_keeps_what_fired_and_plans_for_the_one_they_became(tmp_path: Path) -> None:
    """Points fired for the anonymous visitor do not fire again for the known one; the birthday is planned once."""
    desk = a_desk(tmp_path)
    take(desk, identify(-5, "c1", birthday="1990-03-10"))
    take(desk, event("Points", -4, None, "a1", properties={"points": 12}))
    assert fire(desk, "w").n_fired == 1
    take(desk, identify(-3, "c1", "a1"))
    take(desk, event("Points", -2, properties={"points": 15}))
    review(desk)
    assert set(pending(desk)) == {"bday", "miss"}
