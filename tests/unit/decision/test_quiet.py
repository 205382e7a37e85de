"""Send windows: exact in every zone and through every clock change; together with quiet hours; waiting or dropping."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.decision.making import NOW, case, customer, firing, playbook, send

from opportune.decision.handoff import recheck
from opportune.decision.pipeline import decide
from opportune.decision.quiet import compile_window
from opportune.decision.zones import ASSUMED
from opportune.domain.decisions import Reason
from opportune.domain.instants import from_us, to_us
from opportune.playbook.reach import DAYS, SendWindow

MINUTE_US = 60_000_000
H = timedelta(hours=1)
#: Local Sundays and Saturdays whose clocks change, an island with half an hour, and the day that Samoa left out.
CHANGES = {
    "Europe/London": (datetime(2026, 3, 29, 1, tzinfo=UTC), datetime(2026, 10, 25, 1, tzinfo=UTC)),
    "America/New_York": (datetime(2026, 3, 8, 7, tzinfo=UTC), datetime(2026, 11, 1, 6, tzinfo=UTC)),
    "Australia/Lord_Howe": (datetime(2026, 4, 4, 15, tzinfo=UTC), datetime(2026, 10, 3, 15, 30, tzinfo=UTC)),
    "Pacific/Apia": (datetime(2011, 12, 30, 10, tzinfo=UTC), datetime(2011, 12, 30, 10, tzinfo=UTC)),
}
WINDOW = """
send_windows:
  office: {channels: [email], open: [{days: [mon, tue, wed, thu, fri], from: "09:00", to: "18:00"}]%s}
"""


def window(*stretches: tuple[list[str], str, str], **more: object) -> SendWindow:
    hours = [{"days": days, "from": start, "to": end} for days, start, end in stretches]
    return SendWindow.model_validate({"open": hours, **more})


def naive_open(us: int, declared: SendWindow, zone: ZoneInfo) -> bool:
    local = from_us(us).astimezone(zone)
    today, yesterday, clock = DAYS[local.weekday()], DAYS[local.weekday() - 1], local.time()
    for hours in declared.open:
        if hours.opens < hours.shuts:
            if today in hours.days and hours.opens <= clock < hours.shuts:
                return True
        elif (today in hours.days and clock >= hours.opens) or (yesterday in hours.days and clock < hours.shuts):
            return True
    return False


STRETCHES = st.lists(
    st.tuples(
        st.lists(st.sampled_from(DAYS), min_size=1, max_size=7, unique=True), st.integers(0, 95), st.integers(0, 95)
    ),
    min_size=1,
    max_size=3,
)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from([(name, at) for name, ats in CHANGES.items() for at in ats]), st.integers(-48, 24), STRETCHES)
def test_a_window_opens_at_the_first_quarter_whose_wall_clock_lies_in_it(place, hours, stretches):
    """Stepping through two weeks around a clock change finds the same opening, whatever the windows."""
    name, change = place
    zone = ZoneInfo(name)
    declared = window(*[(list(days), *(f"{q // 4:02}:{q % 4 * 15:02}" for q in ends)) for days, *ends in stretches])
    at = to_us(change + hours * H)
    expected = at
    while not naive_open(expected, declared, zone):
        expected += 15 * MINUTE_US
    assert compile_window("w", declared).opens_at(at, (zone,)) == expected


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 7 * 24 * 4), st.integers(0, 95), st.integers(40, 95))
def test_without_a_zone_it_must_be_open_everywhere(quarter, start, length):
    """The opening is the first quarter open in every place between UTC-8 and UTC+3, or there is none in the week."""
    end = (start + length) % 96
    ends = (f"{q // 4:02}:{q % 4 * 15:02}" for q in (start, end))
    declared = window((["mon", "tue", "wed", "thu"], *ends))
    at = to_us(datetime(2026, 3, 2, tzinfo=UTC)) + quarter * 15 * MINUTE_US
    opens = compile_window("w", declared).opens_at(at, ASSUMED)
    quarters = range(at, at + 7 * 96 * 15 * MINUTE_US, 15 * MINUTE_US)
    everywhere = (us for us in quarters if all(naive_open(us, declared, zone) for zone in ASSUMED))
    assert opens == next(everywhere, None)


def test_a_window_that_no_zone_shares_never_opens():
    """Nine office hours do not reach from California to Moscow."""
    office = compile_window("w", window((["mon"], "09:00", "18:00")))
    assert office.opens_at(to_us(NOW), ASSUMED) is None


@pytest.mark.parametrize(
    ("zone", "before", "opening"),
    [
        # the Sunday on which London's clocks go forward, and New York's back: nine o'clock by the new offset
        ("Europe/London", datetime(2026, 3, 28, 20, tzinfo=UTC), datetime(2026, 3, 29, 8, tzinfo=UTC)),
        ("America/New_York", datetime(2026, 10, 31, 23, tzinfo=UTC), datetime(2026, 11, 1, 14, tzinfo=UTC)),
    ],
)
def test_it_opens_by_the_new_clock_on_the_day_of_a_change(zone, before, opening):
    """Nine in the morning is nine by the clock on the wall, on the day of the change, too."""
    rule = compile_window("w", window((["sun"], "09:00", "18:00")))
    assert rule.opens_at(to_us(before), (ZoneInfo(zone),)) == to_us(opening)


def test_a_message_waits_for_its_window_and_expires_without_one():
    """Fired on Thursday evening it waits for Friday; on Friday evening the removal says when it would have gone."""
    friday = datetime(2026, 3, 6, 19, tzinfo=UTC)
    book = playbook(WINDOW % "")
    assert [r.reason for r in decide(case(book, firing("cart", friday), now=friday), book).removed] == [
        Reason.SEND_WINDOW
    ]
    (removal,) = decide(case(book, firing("cart", friday), now=friday), book).removed
    assert (removal.rule, removal.would_pass_at) == ("send_windows.office", datetime(2026, 3, 9, 9, tzinfo=UTC))
    thursday = friday - timedelta(days=1)
    (message,) = decide(case(book, firing("cart", thursday), now=thursday), book).messages
    assert message.send_at == datetime(2026, 3, 6, 9, tzinfo=UTC)


def test_what_may_not_wait_is_dropped_where_it_meets_shut_hours():
    """`otherwise: discard` for a window and for quiet hours, at the decision and at hand-off."""
    evening = datetime(2026, 3, 5, 22, tzinfo=UTC)
    book = playbook(WINDOW % ", otherwise: discard")
    decision = decide(case(book, firing("cart", evening), now=evening), book)
    assert [(r.reason, r.rule) for r in decision.removed] == [(Reason.SEND_WINDOW, "send_windows.office")]
    assert decide(case(book, firing("cart")), book).messages
    night = playbook("quiet_hours: {start: '21:00', end: '08:00', otherwise: discard}")
    assert [r.reason for r in decide(case(night, firing("cart", evening), now=evening), night).removed] == [
        Reason.QUIET_HOURS
    ]
    booked = send(NOW, campaign="cart", expires_at=NOW + 48 * H)
    assert recheck(booked, NOW + 12 * H, customer(), (), (), book) is Reason.SEND_WINDOW
    assert recheck(booked, NOW + 12 * H, customer(), (), (), playbook(WINDOW % "")) == NOW + 21 * H


def test_quiet_hours_and_windows_hold_together():
    """Open at six by the window, quiet until eight: it goes at eight."""
    book = playbook(
        "quiet_hours: {start: '21:00', end: '08:00'}\nsend_windows: {early: {open: [{from: '06:00', to: '10:00'}]}}"
    )
    (message,) = decide(case(book, firing("cart")), book).messages
    assert message.send_at == datetime(2026, 3, 5, 8, tzinfo=UTC)


@pytest.mark.parametrize(
    ("more", "binds"),
    [
        ("", {"cart"}),
        (", topics: [news]", set()),
        (", purpose: transactional", {"reset"}),
        (", channels: [sms]", set()),
    ],
)
def test_a_window_binds_the_channels_topics_and_purpose_it_names(more, binds):
    """Marketing alone unless it says transactional; a campaign may be freed from it."""
    text = f"send_windows: {{morning: {{open: [{{from: '06:00', to: '10:00'}}]{more}}}}}"
    book = playbook(text)
    told = {name: decide(case(book, firing(name)), book).messages for name in ("cart", "reset")}
    assert {name for name, (message,) in told.items() if message.send_at > NOW} == binds


def test_a_campaign_that_obeys_no_quiet_hours_obeys_no_window():
    """`obeys_quiet_hours: false` frees from both."""
    from tests.unit.decision.making import swapped

    free = swapped(("  cart:\n    trigger: cart\n", "  cart:\n    trigger: cart\n    obeys_quiet_hours: false\n"))
    book = playbook("send_windows: {morning: {open: [{from: '06:00', to: '10:00'}]}}", free)
    assert decide(case(book, firing("cart")), book).messages[0].send_at == NOW


def test_the_naive_oracle_knows_midnight():
    """A stretch into the next day belongs to the day it starts on."""
    declared = window((["fri"], "22:00", "02:00"))
    saturday = datetime(2026, 3, 7, 1, tzinfo=UTC)
    assert naive_open(to_us(saturday), declared, ZoneInfo("UTC"))
    assert compile_window("w", declared).opens_at(to_us(saturday), (ZoneInfo("UTC"),)) == to_us(saturday)
    assert time(0) == window((["fri"], "22:00", "00:00")).open[0].shuts
