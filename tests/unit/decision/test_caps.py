"""Caps: exact counts and exact openings, against naive counting."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.decision.making import NOW, send

from opportune.decision.caps import Book, check, compile_cap, earliest_pass, period
from opportune.domain.instants import from_us, to_us
from opportune.domain.messages import SendState
from opportune.playbook.schema import Cap

MIN = timedelta(minutes=1)
ZONES = ("UTC", "Europe/London", "America/Los_Angeles", "Asia/Kathmandu", "America/Havana")
#: Around both clock changes of London.
STARTS = (NOW, datetime(2026, 3, 29, 0, 0, tzinfo=UTC), datetime(2026, 10, 25, 0, 0, tzinfo=UTC))


def rule(**cap: object):
    return compile_cap("r", Cap.model_validate(cap))


def naive_holds(at: datetime, others: list[datetime], cap: Cap, zone: str) -> bool:
    """Would every promise of the cap hold if one more went at `at`? By looking at every window there is."""
    everyone = [*others, at]
    if cap.rolling is not None:
        ends = [at + k for x in everyone for k in (x - at, timedelta(0)) if at <= at + k < at + cap.rolling]
        for end in ends:  # a window (end - W, end] is fullest when it ends at a send
            if sum(end - cap.rolling < x <= end for x in everyone) > (cap.at_most or 0):
                return False
    elif cap.calendar is not None:
        tz = ZoneInfo(zone)

        def label(x: datetime) -> tuple[int, ...]:
            local = x.astimezone(tz).date()
            return {
                "day": (local.toordinal(),),
                "week": local.isocalendar()[:2],
                "month": (local.year, local.month),
            }[cap.calendar or ""]

        if sum(label(x) == label(at) for x in everyone) > (cap.at_most or 0):
            return False
    return cap.at_least_apart is None or all(abs(x - at) >= cap.at_least_apart for x in others)


caps = st.one_of(
    st.builds(
        lambda n, w: {"at_most": n, "in": w},
        st.integers(1, 3),
        st.sampled_from(["30m", "2h", "1d", "calendar day", "calendar week", "calendar month"]),
    ),
    st.builds(lambda a: {"at_least_apart": a}, st.sampled_from(["20m", "3h"])),
    st.builds(
        lambda n, a: {"at_most": n, "in": "2h", "at_least_apart": a}, st.integers(1, 3), st.sampled_from(["20m"])
    ),
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(caps, min_size=1, max_size=3),
    st.lists(st.integers(-400, 400), max_size=8),
    st.sampled_from(ZONES),
    st.sampled_from(STARTS),
)
def test_a_cap_holds_exactly_when_no_window_is_overfilled(declared, offsets, zone, start):
    """check() and naive counting over all windows agree, and so does the opening it promises."""
    others = [start + k * MIN for k in offsets]
    sends = [send(at, n) for n, at in enumerate(others)]
    parsed = [Cap.model_validate(c) for c in declared]
    rules = [compile_cap(f"r{n}", c) for n, c in enumerate(parsed)]
    broken, passes = check(start, sends[0] if sends else send(start), sends, rules, ZoneInfo(zone))
    holds = all(naive_holds(start, others, c, zone) for c in parsed)
    assert (not broken) == holds == (passes == start)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(caps, min_size=1, max_size=3),
    st.lists(st.integers(-130, 200), max_size=6),
    st.sampled_from(ZONES),
    st.sampled_from(STARTS),
)
def test_the_opening_is_the_earliest_instant_that_passes(declared, offsets, zone, start):
    """Brute force over a grid of 10 minutes finds nothing before `would_pass_at`, and it passes at `would_pass_at`."""
    others = [start + 10 * k * MIN for k in offsets]
    sends = [send(at, n) for n, at in enumerate(others)]
    parsed = [Cap.model_validate(c) for c in declared]
    rules = [compile_cap(f"r{n}", c) for n, c in enumerate(parsed)]
    _, passes = check(start, send(start), sends, rules, ZoneInfo(zone))
    assert passes is not None
    assert all(naive_holds(passes, others, c, zone) for c in parsed)
    at, steps = start, 0
    while at < passes and steps < 400:
        assert not all(naive_holds(at, others, c, zone) for c in parsed), at
        at, steps = at + 10 * MIN, steps + 1


@settings(max_examples=80, deadline=None)
@given(
    st.integers(1, 3),
    st.sampled_from(["30m", "2h", "calendar day"]),
    st.sampled_from([None, "20m"]),
    st.lists(st.integers(0, 600), min_size=1, max_size=25),
    st.sampled_from(ZONES),
)
def test_greedy_placing_never_overfills_any_window(at_most, window, apart, wishes, zone):
    """Messages placed in any order, each at its earliest opening, keep every window of the log within the cap."""
    cap = Cap.model_validate({"at_most": at_most, "in": window, **({"at_least_apart": apart} if apart else {})})
    compiled = compile_cap("r", cap)
    placed: list[datetime] = []
    for wish in wishes:
        book = Book([send(at, n) for n, at in enumerate(placed)])
        at = earliest_pass(to_us(NOW + wish * MIN), [compiled], book, ZoneInfo(zone))
        assert at is not None
        placed.append(from_us(at))
    placed.sort()
    if cap.rolling is not None:
        assert all(sum(end - cap.rolling < x <= end for x in placed) <= at_most for end in placed)
    else:
        days = [x.astimezone(ZoneInfo(zone)).date() for x in placed]
        assert all(days.count(day) <= at_most for day in days)
    if cap.at_least_apart is not None:
        assert all(b - a >= cap.at_least_apart for a, b in pairwise(placed))


def test_a_window_is_open_on_the_left():
    """Exactly one window after a send there is room again; a microsecond earlier there is not."""
    week = rule(**{"at_most": 1, "in": "7d"})
    sends = [send(NOW - timedelta(days=7))]
    assert check(NOW, send(NOW), sends, [week], None)[0] == []
    broken, passes = check(NOW - timedelta(microseconds=1), send(NOW), sends, [week], None)
    assert (broken[0].found, broken[0].limit, passes) == (1, 1, NOW)


def test_bookings_ahead_fill_the_windows_that_reach_them():
    """A message now is refused when a later booking shares a full window with it."""
    day = rule(**{"at_most": 2, "in": "1d"})
    ahead = [send(NOW + timedelta(hours=5)), send(NOW + timedelta(hours=23))]
    broken, passes = check(NOW, send(NOW), ahead, [day], None)
    assert broken[0].found == 2
    assert passes == NOW + timedelta(hours=29)


def test_exactly_as_far_apart_as_declared_passes():
    """The distance is kept on both sides, and the limit itself is far enough."""
    apart = rule(at_least_apart="20h")
    assert (
        check(NOW, send(NOW), [send(NOW - timedelta(hours=20)), send(NOW + timedelta(hours=20))], [apart], None)[0]
        == []
    )
    broken, passes = check(NOW, send(NOW), [send(NOW + timedelta(hours=19))], [apart], None)
    assert (broken[0].kind, broken[0].limit, broken[0].found) == ("apart", 72000, 68400)
    assert passes == NOW + timedelta(hours=39)


def test_at_most_none_never_opens():
    """`at_most: 0` is a ban: no time helps."""
    broken, passes = check(NOW, send(NOW), [], [rule(**{"at_most": 0, "in": "1d"})], None)
    assert (broken[0].found, broken[0].limit, passes) == (0, 0, None)


@pytest.mark.parametrize(
    ("selector", "counted"),
    [
        ({}, 3),
        ({"channel": "push"}, 1),
        ({"topic": "news"}, 1),
        ({"purpose": "transactional"}, 1),
        ({"campaign": "big"}, 1),
        ({"tag": "offer"}, 1),
        ({"channel": "push", "tag": "offer"}, 0),
    ],
)
def test_a_cap_counts_what_all_its_conditions_name(selector, counted):
    """Sends count by their own channel, topic, purpose, campaign and tags; released and uncounted ones never."""
    sends = [
        send(NOW, 1, channel="push", campaign="big"),
        send(NOW, 2, topic="news", tags=("offer", "x")),
        send(NOW, 3, purpose="transactional", is_virtual=True),
        send(NOW, 4, counts=False),
        send(NOW, 5, state=SendState.RELEASED),
    ]
    assert len(Book(sends).instants(rule(counts=selector, **{"at_most": 1, "in": "1d"}))) == counted


def test_calendar_windows_are_cut_in_the_customers_zone():
    """The local day of a clock change has 23 or 25 hours; weeks start on Monday; months differ."""
    london = ZoneInfo("Europe/London")
    spring = to_us(datetime(2026, 3, 29, 12, tzinfo=UTC))
    autumn = to_us(datetime(2026, 10, 25, 12, tzinfo=UTC))
    hours = [(end - start) / 3.6e9 for start, end in (period(spring, "day", london), period(autumn, "day", london))]
    assert hours == [23.0, 25.0]
    assert from_us(period(spring, "week", london)[1]) == datetime(2026, 3, 29, 23, tzinfo=UTC)
    assert from_us(period(autumn, "month", london)[0]) == datetime(2026, 9, 30, 23, tzinfo=UTC)
