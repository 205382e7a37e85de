"""The cap promise through whole decisions: however they come, no window of the log is ever overfilled."""

from datetime import timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.decision.making import NOW, case, customer, playbook

from opportune.decision import record
from opportune.decision.pipeline import decide
from opportune.domain.decisions import Ask

BOOK = playbook(
    """
quiet_hours: {start: '21:00', end: '08:00'}
caps:
  two_in_three_days: {counts: {purpose: marketing}, at_most: 2, in: 3d}
  one_a_day: {counts: {channel: email}, at_most: 1, in: calendar day}
  apart: {counts: {topic: news}, at_least_apart: 5h}
exploration: {rate: 0.3}
"""
)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.integers(0, 200), min_size=3, max_size=25),
    st.sampled_from(["Europe/London", "America/New_York", None]),
    st.integers(1, 3),
    st.integers(0, 99),
)
def test_no_sequence_of_decisions_overfills_a_window(hours, zone, n, salt):
    """Decisions at any hours, each seeing the bookings of those before it, later slots included."""
    log = []
    for step, hour in enumerate(hours):  # not in order of time: bookings ahead are seen too
        ask = Ask(customer_id="c1", max_messages=n)
        given_case = case(
            BOOK,
            ask,
            who=customer(timezone=zone),
            now=NOW + timedelta(hours=hour),
            sends=tuple(log),
            seed=f"{salt}{step}",
            decision_id=f"d{step}",
        )
        decision = decide(given_case, BOOK)
        log += [record.send_of(decision, message, given_case) for message in decision.messages]
    instants = [s.send_at for s in log]
    assert all(sum(end - timedelta(days=3) < at <= end for at in instants) <= 2 for end in instants)
    news = sorted(s.send_at for s in log if s.topic == "news")
    assert all(b - a >= timedelta(hours=5) for a, b in pairwise(news))
    days = [s.send_at.astimezone(ZoneInfo(zone or "UTC")).date() for s in log if s.channel == "email"]
    assert len(set(days)) == len(days)
    assert len({s.message_id for s in log}) == len(log)
    assert all(s.reserved_at <= s.send_at < s.expires_at for s in log)
