"""A message placed later never overfills any window it falls into: random bookings against a count over all windows."""

import tempfile
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.desks import NOON, desk_of, playbook_of

from opportune.adapters.system_clock import FixedClock
from opportune.domain.customers import Customer
from opportune.domain.decisions import Ask
from opportune.flows.decide import decide
from opportune.playbook.load import Playbook

PLAYBOOK = """
topics: {offers: {purpose: marketing}}
consent: {default: {"*": in}}
quiet_hours: {start: "20:00", end: "09:00"}
max_messages: 3
caps:
  per_three_days: {at_most: 3, in: 3d}
  per_day: {at_most: 1, in: calendar day}
  spaced: {counts: {channel: email}, at_least_apart: 20h}
triggers: {asked: {kind: request}}
campaigns:
  first:
    {trigger: asked, topic: offers, channels: [email], expires_after: 5d, priority: 3,
     content: {email: {subject: A, body: A}}}
  second:
    {trigger: asked, topic: offers, channels: [inapp], expires_after: 2d, priority: 2, content: {inapp: {body: B}}}
  third:
    {trigger: asked, topic: offers, channels: [inapp, email], expires_after: 4d, priority: 1,
     content: {inapp: {body: C}, email: {subject: C, body: C}}}
"""


def loaded() -> Playbook:
    """The playbook, once."""
    with tempfile.TemporaryDirectory() as folder:
        return playbook_of(Path(folder), PLAYBOOK)


PARSED = loaded()


def overfull(instants: list[datetime], width: timedelta, at_most: int) -> bool:
    """Whether any window (t - width, t] holds more than at_most: the fullest ends at one of the instants."""
    return any(sum(t - width < other <= t for other in instants) > at_most for t in instants)


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(st.integers(min_value=0, max_value=4000), min_size=1, max_size=12))
def test_no_window_is_ever_overfull(steps: list[int]) -> None:
    """Whatever the moments of asking, every cap holds in every window, and quiet hours too."""
    clock = FixedClock(NOON)
    desk = desk_of(PARSED, clock=clock)
    with desk.ledger.begin() as uow:
        uow.customers.put(
            [
                Customer(
                    customer_id="c", traits={"timezone": "Europe/London", "email": "c@example.org"}, first_seen_at=NOON
                )
            ]
        )
    for minutes in steps:
        clock.advance(clock.now() + timedelta(minutes=minutes))
        decide([Ask(customer_id="c")], desk)
    with desk.ledger.read() as uow:
        sends = uow.sends.log(["c"], NOON - timedelta(days=1)).get("c", [])
    everything = [s.send_at for s in sends]
    assert not overfull(everything, timedelta(days=3), 3)
    assert len({t.date() for t in everything}) == len(everything)  # London is UTC in early March
    mails = sorted(s.send_at for s in sends if s.channel == "email")
    assert all(b - a >= timedelta(hours=20) for a, b in pairwise(mails))
    assert all(9 <= t.hour < 20 for t in everything)
