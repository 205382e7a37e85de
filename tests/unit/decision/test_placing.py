"""Placing jointly: every slot lies outside quiet hours, before expiry, inside every cap with all bookings around it,
and none that does is missed. Against a look at every five minutes."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.caps_by_hand import has_room, is_counted
from tests.unit.decision.making import NOW, case, customer, playbook, send, swapped

from opportune.decision.candidate import Candidate, Choice, Option, Slot
from opportune.decision.caps import Counted
from opportune.decision.hours import LocalHours
from opportune.decision.place import place
from opportune.decision.rules import rules_of
from opportune.domain.decisions import Reason
from opportune.domain.instants import from_us, to_us
from opportune.playbook.load import Playbook

STEP = timedelta(minutes=5)
CAPS = (
    "",
    "caps:\n  week: {at_most: 2, in: 7d}\n  day: {at_most: 1, in: calendar day}\n",
    "caps:\n  spaced: {at_least_apart: 5h}\n  mail: {counts: {channel: email}, at_most: 1, in: 1d}\n",
    "caps:\n  spaced: {counts: {topic: offers}, at_least_apart: 11h}\n  two: {at_most: 2, in: 2d}\n",
)
QUIET = ("", "quiet_hours: {start: '21:00', end: '08:00'}\n", "quiet_hours: {start: '02:00', end: '20:00'}\n")


def with_key(line: str) -> str:
    """The small playbook with one more key in its campaign `big`."""
    return swapped(("value_minor: 9000", f"value_minor: 9000\n    {line}"))


BOOKS = {
    (caps, quiet, days): playbook(caps + quiet, with_key(f"expires_after: {days}d"))
    for caps in CAPS
    for quiet in QUIET
    for days in (1, 3)
}
#: A plain day, and the nights in which the clocks of London change.
STARTS = (NOW, datetime(2026, 3, 28, 20, 0, tzinfo=UTC), datetime(2026, 10, 24, 20, 30, tzinfo=UTC))
bookings = st.tuples(st.integers(-600, 1000), st.sampled_from(["email", "push"]), st.sampled_from(["offers", "news"]))
Booked = Sequence[tuple[datetime, Counted]]


def feasible(at: datetime, book: Playbook, zone: ZoneInfo, what: Option, booked: Booked) -> bool:
    """Whether it may go at this instant, looked at by hand."""
    quiet = book.spec.quiet_hours
    if quiet is not None:
        wall, crosses = at.astimezone(zone).time(), quiet.start > quiet.end
        if (wall >= quiet.start or wall < quiet.end) if crosses else (quiet.start <= wall < quiet.end):
            return False
    return all(
        has_room(at, cap, cap.at_most, [x for x, other in booked if is_counted(other, cap)], zone)
        for cap in book.spec.caps.values()
        if is_counted(what, cap)
    )


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(sorted(BOOKS)),
    st.lists(bookings, max_size=7),
    st.integers(0, 300),
    st.sampled_from(["Europe/London", "America/Los_Angeles", "Asia/Kathmandu"]),
    st.sampled_from(STARTS),
    st.booleans(),
    st.booleans(),
)
def test_slots_are_all_that_is_left_open(kind, log, later, zone, start, has_hours, has_chosen):
    """The earliest of each hour, bookings before and after and messages of the same decision included; no other."""
    book, tz = BOOKS[kind], ZoneInfo(zone)
    now = start + later * STEP
    sends = [send(now + n * STEP, i, channel=c, topic=t) for i, (n, c, t) in enumerate(log)]
    given_case = case(book, who=customer(timezone=zone), now=now, sends=tuple(sends))
    big, small = (next(o for o in rules_of(book).on_request if o.campaign == name) for name in ("big", "small"))
    chosen = [Choice(1, Candidate(small, None), Slot(to_us(now + timedelta(hours=3))), None, 1.0)] if has_chosen else []
    booked = [(s.send_at, s) for s in sends] + [(from_us(c.slot.at_us), c.candidate.option) for c in chosen]
    grid = LocalHours(tuple(1.0 + h for h in range(24)), tz) if has_hours else None
    kept, removed, _ = place([Candidate(big, None)], given_case, book, chosen, grid)
    ahead = [now + n * STEP for n in range(int(big.spec.expires_after / STEP))]
    open_at = [at for at in ahead if feasible(at, book, tz, big, booked)]
    if not open_at:
        assert kept == []
        assert removed[0].reason in (Reason.QUIET_HOURS, Reason.FREQUENCY_CAP, Reason.SPACING)
        return
    hours: dict[datetime, datetime] = {}
    for at in open_at:
        hours.setdefault(at.replace(minute=0), at)
    wanted = list(hours.values())[:24] if has_hours else open_at[:1]
    assert removed == []
    assert [from_us(slot.at_us) for slot in kept[0].slots] == wanted
    if has_hours:
        assert [slot.weight for slot in kept[0].slots] == [1.0 + h.astimezone(tz).hour for h in list(hours)[:24]]


def test_the_end_of_a_campaign_cuts_its_slots() -> None:
    """Whichever comes first: expiry or the campaign's own end."""
    ends_at = NOW + timedelta(hours=2)
    book = playbook("", with_key(f"ends_at: {ends_at:%Y-%m-%dT%H:%MZ}"))
    option = next(o for o in rules_of(book).on_request if o.campaign == "big")
    kept, _, _ = place([Candidate(option, None)], case(book), book, (), LocalHours((1.0,) * 24, ZoneInfo("UTC")))
    assert [from_us(s.at_us) for s in kept[0].slots] == [NOW, NOW + timedelta(hours=1)]
    assert from_us(kept[0].expires_us) == ends_at
