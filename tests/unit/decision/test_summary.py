"""The one line in words."""

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.decision.making import NOW, case, consent, customer, playbook, send

from opportune.decision.pipeline import decide
from opportune.decision.summary import MAX_LENGTH, summarise, tell_instant
from opportune.domain.decisions import Reason, Removal, Stage
from opportune.domain.instants import from_us

BOOK = playbook()


@pytest.mark.parametrize(
    ("hours", "zone", "words"),
    [
        (0, "Europe/London", "now"),
        (6, "Europe/London", "today at 18:00"),
        (6, "Asia/Tokyo", "tomorrow at 03:00"),
        (21, None, "tomorrow at 09:00 UTC"),
        (45, "Europe/London", "on Friday at 09:00"),
        (24 * 10, "Europe/London", "on 14 March at 12:00"),
    ],
)
def test_instants_are_told_in_the_customers_time(hours, zone, words):
    """Now, today, tomorrow, a weekday within the week, else the date; UTC is named when the zone is unknown."""
    assert tell_instant(NOW + timedelta(hours=hours), NOW, zone, preposition=True) == words


def test_it_says_what_goes_and_what_was_held():
    """The message first, then the removal most worth knowing, with the cap's numbers and the way out."""
    book = playbook("caps:\n  push_week: {counts: {campaign: plain}, at_most: 1, in: 7d}\n")
    decision = decide(case(book, sends=(send(NOW - timedelta(days=5), campaign="plain"),)), book)
    assert decision.summary == (
        "Send big by e-mail now. plain held: cap push_week (1 of 1); possible again on Friday 12:00."
    )


def test_it_says_why_nothing_goes():
    """No message: the reason that matters most."""
    book = playbook()
    silent = decide(case(book, consents=(consent("*", "*", "out", 1),)), book)
    assert silent.summary == "Send nothing. big held: no consent."
    quiet = playbook("quiet_hours: {start: '00:00', end: '22:00'}\n")
    nowhere = decide(case(quiet, who=customer(timezone=None)), quiet)
    assert nowhere.summary == "Send nothing. big held: quiet hours, zone unknown."
    held = decide(case(book, assignments={"global_holdout": "holdout"}), book)
    assert held.summary.startswith("Withheld (holdout): big by e-mail now.")


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(Reason),
    st.text("x", max_size=64),
    st.none() | st.integers(0, 10**15).map(from_us),
)
def test_every_reason_has_words_and_the_line_is_short(reason, name, at):
    """No reason fails or makes the line longer than 200 characters."""
    removal = Removal(campaign=name * 4, channel=None, variant=None, stage=Stage.PLACE, reason=reason, would_pass_at=at)
    line = summarise((), (removal,), case(BOOK))
    assert line.startswith("Send nothing.")
    assert len(line) <= MAX_LENGTH
