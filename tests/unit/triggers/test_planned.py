"""Dates and refills: one firing per occurrence, whatever the zone, the year and the moment of looking."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.flows.ingesting import event

from opportune.domain.events import Event
from opportune.domain.timers import PastTimer, Timer, TimerFate
from opportune.playbook.triggers import Occasion, Trigger
from opportune.triggers.calendar import Day, local_instant, read_day
from opportune.triggers.planned import Known, due_next, own_gap

LONDON, NEW_YORK = ZoneInfo("Europe/London"), ZoneInfo("America/New_York")
#: Both hemispheres, both ends of the day, half hours, and a change at midnight.
ZONES = [
    "Europe/London", "America/New_York", "Pacific/Kiritimati", "Pacific/Niue", "Asia/Kolkata", "Australia/Lord_Howe",
    "America/Sao_Paulo", "Africa/Cairo", "UTC",
]  # fmt: skip


def a_trigger(**fields: Any) -> Trigger:
    return Trigger.model_validate({"kind": "date", **fields})


BIRTHDAY = a_trigger(date="traits.birthday", every="year")


def holds(text: str | None, env: Any) -> bool:
    return True


def plan(trigger: Trigger, now: datetime, zone: Any = UTC, **known: Any) -> list[Timer]:
    occasions = {
        "christmas": Occasion.model_validate({"on": "12-25"}),
        "mothers_day": Occasion.model_validate({"on": "2026-05-10", "countries": {"GB": "2026-03-15", "NO": []}}),
    }
    given = {"customer_id": "c", "traits": {}, "zone": zone, **known}
    return due_next("rule", trigger, Known(**given), occasions, holds, now)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "day"),
    [
        ("1990-03-14", Day(1990, 3, 14)),
        ("1990-03-14T00:00:00.000Z", Day(1990, 3, 14)),
        (" 03-14 ", Day(None, 3, 14)),
        ("--03-14", Day(None, 3, 14)),
        ("02-29", Day(None, 2, 29)),
        ("14/03/1990", None),
        ("1990-02-30", None),
        ("2025-02-29", None),
        (19900314, None),
        (None, None),
    ],
)
def test_a_day_is_read_as_it_is_written_or_not_at_all(value: object, day: Day | None) -> None:
    """ISO days, instants by their first ten letters, yearless days; nothing is guessed."""
    assert read_day(value) == day


@pytest.mark.parametrize(
    ("zone", "on", "hour", "due"),
    [
        (LONDON, date(2026, 3, 28), time(9), "2026-03-28T09:00"),
        (LONDON, date(2026, 3, 29), time(9), "2026-03-29T08:00"),
        (LONDON, date(2026, 3, 29), time(1, 30), "2026-03-29T01:30"),  # 01:30 does not exist: 02:30 summer time
        (LONDON, date(2026, 10, 25), time(1, 30), "2026-10-25T00:30"),  # comes twice: the first counts
        (NEW_YORK, date(2026, 3, 7), time(9), "2026-03-07T14:00"),
        (NEW_YORK, date(2026, 3, 8), time(2, 30), "2026-03-08T07:30"),  # does not exist: 03:30 summer time
        (NEW_YORK, date(2026, 11, 1), time(1, 30), "2026-11-01T05:30"),  # comes twice: the first counts
        (NEW_YORK, date(2026, 11, 1), time(9), "2026-11-01T14:00"),
    ],
)
def test_local_hours_through_clock_changes(zone: ZoneInfo, on: date, hour: time, due: str) -> None:
    """Two zones, both changes: what does not exist moves forward, what comes twice counts once."""
    assert local_instant(on, hour, zone) == utc(due)


def test_29_february_is_kept_as_declared() -> None:
    """On the day itself in leap years; else 28 February, or 1 March where the trigger says so."""
    born = {"birthday": "2000-02-29"}
    assert plan(BIRTHDAY, utc("2026-01-01"), traits=born)[0].due_at == utc("2026-02-28T09:00")
    march = a_trigger(date="traits.birthday", every="year", feb_29="mar_1")
    assert plan(march, utc("2026-01-01"), traits=born)[0].due_at == utc("2026-03-01T09:00")
    assert plan(march, utc("2028-01-01"), traits=born)[0].due_at == utc("2028-02-29T09:00")


def test_the_nearest_of_several_days_is_due_and_then_the_next() -> None:
    """14, 7 and 1 day before: one timer at a time, each once; on the last day nothing is left this time."""
    trigger = a_trigger(date="traits.renews_on", every="once", before=["14d", "7d", "1d"])
    known: dict[str, Any] = {"traits": {"renews_on": "2026-06-20"}, "past": []}
    now, seen = utc("2026-06-01"), []
    while timers := plan(trigger, now, **known):
        seen.append((timers[0].due_at.date().isoformat(), timers[0].payload["days"]))
        now = timers[0].due_at
        known["past"].append(left(timers[0]))
    assert seen == [("2026-06-06", 14), ("2026-06-13", 7), ("2026-06-19", 1)]


def left(timer: Timer, at: datetime | None = None, fate: TimerFate = TimerFate.FIRED) -> PastTimer:
    return PastTimer(
        rule=timer.rule, key=timer.key, set_at=timer.set_at, set_by=timer.set_by, fate=fate, at=at or timer.due_at
    )


def test_an_anniversary_is_not_the_day_itself() -> None:
    """The first order, at a local day; the event's day is no anniversary of it, and later orders change nothing."""
    trigger = a_trigger(first={"event": "Order Completed"}, every="year")
    first = event("Order Completed", 2)  # 2026-03-01 02:00 UTC: still February in New York
    events = [first, event("Order Completed", 500)]
    assert plan(trigger, utc("2026-03-01T03:00"), LONDON, events=events)[0].due_at == utc("2027-03-01T09:00")
    in_new_york = plan(trigger, utc("2026-03-01T03:00"), NEW_YORK, events=events)[0]
    assert in_new_york.due_at == utc("2027-02-28T14:00")
    assert in_new_york.payload == {"date": "2027-02-28", "days": 0, "years": 1}


def test_a_day_stated_by_events_is_one_instance_per_key_and_the_newest_counts() -> None:
    """Two policies; one is extended, and its old day is forgotten."""
    trigger = a_trigger(
        date="properties.ends", on={"event": "Issued", "key": "properties.policy"}, every="once", before="7d"
    )
    events = [
        event("Issued", 1, properties={"policy": "a", "ends": "2026-06-20"}),
        event("Issued", 2, properties={"policy": "b", "ends": "2026-07-20"}),
        event("Issued", 3, properties={"policy": "a", "ends": "2026-08-20"}),
        event("Issued", 4, properties={"policy": "c", "ends": "soon"}),
    ]
    found = {t.key: t.due_at for t in plan(trigger, utc("2026-04-01"), events=events)}
    assert found == {"a@2026-08-20-7d": utc("2026-08-13T09:00"), "b@2026-07-20-7d": utc("2026-07-13T09:00")}


def test_occasions_come_every_year_or_once_and_per_country() -> None:
    """Christmas for all; mothering Sunday in March in Britain, in May elsewhere, never in Norway."""
    christmas = a_trigger(occasion="christmas", before="7d")
    assert [t.key for t in plan(christmas, utc("2026-12-18T08:59"))] == ["2026-12-25-7d"]
    assert [t.due_at for t in plan(christmas, utc("2026-12-20"))] == [utc("2027-12-18T09:00")]
    mothers = a_trigger(occasion="mothers_day")
    days = {c: [t.key for t in plan(mothers, utc("2026-01-01"), traits={"country": c})] for c in ("gb", "US", "NO")}
    assert days == {"gb": ["2026-03-15"], "US": ["2026-05-10"], "NO": []}
    assert plan(mothers, utc("2026-06-01")) == []


def test_a_day_that_becomes_known_late_fires_late_within_its_expiry() -> None:
    """An hour after nine it is still due at nine; a day after, it is next year."""
    born = {"birthday": "1990-03-14"}
    assert plan(BIRTHDAY, utc("2026-03-14T10:00"), traits=born)[0].due_at == utc("2026-03-14T09:00")
    assert plan(BIRTHDAY, utc("2026-03-15T09:00"), traits=born)[0].due_at == utc("2027-03-14T09:00")


def test_a_zone_change_on_the_day_neither_doubles_nor_loses_it() -> None:
    """Waiting in New York, moved to London after nine there: due now. Fired in London, moved west: next year."""
    born = {"birthday": "1990-03-14"}
    waiting = plan(BIRTHDAY, utc("2026-03-14T08:00"), NEW_YORK, traits=born)
    assert waiting[0].due_at == utc("2026-03-14T13:00")
    now = utc("2026-03-14T12:00")
    moved = plan(BIRTHDAY, now, LONDON, traits=born, pending=waiting)
    assert [(t.key, t.due_at) for t in moved] == [("2026", now)]
    brief = a_trigger(date="traits.birthday", every="year", expires_after="30m")
    assert plan(brief, now, LONDON, traits=born, pending=waiting)[0].due_at == now
    fired = plan(BIRTHDAY, utc("2026-03-14T08:00"), LONDON, traits=born)[0]
    west = plan(BIRTHDAY, now, NEW_YORK, traits=born, past=[left(fired)])
    assert [t.key for t in west] == ["2027"]


def test_a_corrected_birthday_brings_no_second_greeting_that_year() -> None:
    """Greeted in March, corrected to June: the next one is in June of next year."""
    fired = plan(BIRTHDAY, utc("2026-03-01"), traits={"birthday": "1990-03-14"})[0]
    again = plan(BIRTHDAY, utc("2026-04-01"), traits={"birthday": "1990-06-14"}, past=[left(fired)])
    assert [(t.key, t.due_at) for t in again] == [("2027", utc("2027-06-14T09:00"))]


def test_days_outside_the_trigger_and_at_the_end_of_time() -> None:
    """`starts_at` and `ends_at` bind the due instant; a day that overflows the calendar is no day."""
    trigger = a_trigger(date="traits.birthday", every="year", starts_at="2028-01-01", ends_at="2028-12-31")
    assert plan(trigger, utc("2026-01-01"), traits={"birthday": "1990-03-14"})[0].key == "2028"
    assert plan(trigger, utc("2029-01-01"), traits={"birthday": "1990-03-14"}) == []
    once = a_trigger(date="traits.day", every="once", after="7d")
    assert plan(once, utc("2026-01-01"), traits={"day": "9999-12-31"}) == []


BIRTHDAYS = st.dates(date(1930, 1, 1), date(2010, 12, 31)).map(date.isoformat) | st.just("2004-02-29")


@given(
    birthday=BIRTHDAYS,
    zones=st.lists(st.sampled_from(ZONES), min_size=1, max_size=6),
    start=st.integers(0, 365 * 24 * 60).map(lambda minutes: utc("2026-01-01") + timedelta(minutes=minutes)),
    moves=st.lists(st.integers(1, 400 * 24 * 60), max_size=5),
    hour=st.times(),
    feb_29=st.sampled_from(["feb_28", "mar_1"]),
)
@settings(max_examples=150, deadline=None)
def test_exactly_one_firing_per_year_for_any_zone_birthday_and_instant(
    birthday: str, zones: list[str], start: datetime, moves: list[int], hour: time, feb_29: str
) -> None:
    """Planned at any instant, moved between zones at any instants, replanned after each firing: every whole year has
    exactly one, on the very local day unless the customer has just moved."""
    trigger = a_trigger(
        date="traits.birthday", every="year", at=hour.replace(microsecond=0), feb_29=feb_29, expires_after="3d"
    )
    now, zone = start, ZoneInfo(zones[0])
    changes = sorted((now + timedelta(minutes=m), zones[i % len(zones)]) for i, m in enumerate(moves, 1))
    fired: list[Timer] = []
    past: list[PastTimer] = []
    pending = plan(trigger, now, zone, traits={"birthday": birthday})
    while now < utc("2030-06-01"):
        assert len(pending) == 1
        if changes and changes[0][0] < pending[0].due_at:
            moved_at, name = changes.pop(0)
            now, zone = max(now, moved_at), ZoneInfo(name)
        else:
            now = max(now, pending[0].due_at)
            fired.append(pending[0])
            past.append(left(pending[0], now))
            pending = []
        pending = plan(trigger, now, zone, traits={"birthday": birthday}, pending=pending, past=past)
    years = [t.key for t in fired]
    assert len(set(years)) == len(years)
    assert {"2027", "2028", "2029"} <= set(years)
    if not moves:
        born = Day(*read_day_parts(birthday))
        for timer in fired:
            due_local = timer.due_at.astimezone(zone)
            assert due_local.date() in (
                born.in_year(int(timer.key), feb_29), born.in_year(int(timer.key), feb_29) + timedelta(days=1)
            )  # fmt: skip


def read_day_parts(text: str) -> tuple[int | None, int, int]:
    found = read_day(text)
    assert found is not None
    return found.year, found.month, found.day


REFILL = Trigger.model_validate(
    {"on": {"event": "Order Completed", "key": "properties.products.category"}, "window": "5d", "usual": "30d"}
)


def order(day: float, *categories: str) -> Event:
    products = [{"category": c} for c in categories]
    return event("Order Completed", day * 24, mid=f"o{day}", properties={"products": products})


def test_a_refill_is_due_a_window_before_the_own_mean_gap_per_category() -> None:
    """Coffee every 20 days, tea bought once: its usual 30; both open five days early and end five days late."""
    events = [order(0, "coffee", "coffee"), order(18, "coffee"), order(40, "coffee", "tea")]
    found = {t.key: (t.due_at, t.expires_at) for t in plan(REFILL, utc("2026-04-10"), events=events)}
    last = utc("2026-03-01") + timedelta(days=40)
    day = timedelta(days=1)
    assert found == {"coffee": (last + 15 * day, last + 25 * day), "tea": (last + 25 * day, last + 35 * day)}


def test_a_refill_waits_for_a_second_day_when_nothing_usual_is_said() -> None:
    """Two orders on one day are one purchase; the gap is between first orders of days."""
    bare = Trigger.model_validate({"on": {"event": "Order Completed"}, "window": "5d"})
    assert plan(bare, utc("2026-03-02"), events=[order(0), order(0.3)]) == []
    assert own_gap([order(0), order(0.3), order(10.5)]) == timedelta(days=10.5)


def test_a_refill_fires_once_per_purchase_and_not_when_it_is_too_late() -> None:
    """After its firing only a new purchase plans the next; history whose window is over plans nothing."""
    events = [order(0, "tea"), order(20, "tea")]
    timer = plan(REFILL, utc("2026-03-22"), events=events)[0]
    assert plan(REFILL, timer.due_at, events=events, past=[left(timer)]) == []
    assert plan(REFILL, utc("2026-05-01"), events=events) == []
    more = [*events, order(41, "tea")]
    assert len(plan(REFILL, utc("2026-04-12"), events=more, past=[left(timer)])) == 1


def test_a_window_longer_than_the_gap_never_opens_before_half_of_it() -> None:
    """Daily coffee with a five-day window: half a day after the last one."""
    events = [order(day, "coffee") for day in range(4)]
    assert plan(REFILL, utc("2026-03-04"), events=events)[0].due_at == utc("2026-03-04T12:00")
