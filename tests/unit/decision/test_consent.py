"""Consent, suppression and profiling: the strictest reading, and what lifts it."""

import pytest
from tests.unit.decision.making import consent

from opportune.decision.consent import Standing, has_address
from opportune.domain.decisions import Reason
from opportune.playbook.reach import ConsentPolicy

IN, OUT = ConsentPolicy(default={"*": "in"}), ConsentPolicy()


def reason(lines, channel="email", topic="news", is_transactional=False, policy=OUT):
    refusal = Standing(lines).refusal(channel, topic, is_transactional, policy)
    return None if refusal is None else refusal.reason


@pytest.mark.parametrize(
    ("default", "channel", "allowed"),
    [
        ({}, "email", False),
        ({"*": "in"}, "email", True),
        ({"*": "in", "email": "out"}, "email", False),
        ({"email": "in"}, "push", False),
    ],
)
def test_without_a_word_the_playbook_decides(default, channel, allowed):
    """The channel's own default, then `*`, then out."""
    assert (reason([], channel, policy=ConsentPolicy(default=default)) is None) is allowed


@pytest.mark.parametrize(
    ("lines", "allowed"),
    [
        ([("email", "news", "in", 1)], True),
        ([("email", "*", "in", 1)], True),
        ([("*", "*", "out", 1)], False),
        ([("email", "news", "in", 2), ("email", "news", "out", 1)], False),
        ([("email", "news", "out", 2), ("email", "news", "in", 1)], True),
        # unsubscribed from everything, then opted in to this very topic: that topic goes through
        ([("*", "*", "out", 2), ("email", "news", "in", 1)], True),
        ([("*", "*", "out", 2), ("email", "*", "in", 1)], True),
        ([("*", "*", "out", 2), ("*", "news", "in", 1)], True),
        ([("*", "*", "out", 2), ("email", "offers", "in", 1)], False),
        # an older opt-in never survives a newer opt-out that covers it
        ([("email", "news", "in", 2), ("*", "*", "out", 1)], False),
        # agreeing in general does not undo an opt-out in particular
        ([("email", "news", "out", 2), ("email", "*", "in", 1)], False),
        ([("*", "news", "out", 2), ("email", "*", "in", 1)], False),
        # each opt-out needs its own newer opt-in inside its scope
        ([("*", "*", "out", 3), ("email", "news", "in", 2), ("email", "*", "out", 1)], False),
        # at the same instant the opt-out wins
        ([("*", "*", "out", 1), ("email", "news", "in", 1)], False),
        # other channels and topics say nothing here
        ([("push", "*", "in", 1), ("email", "offers", "in", 1)], False),
    ],
)
def test_an_opt_out_holds_until_a_newer_opt_in_inside_its_scope(lines, allowed):
    """Whatever the order in which the lines are read."""
    history = [consent(*line) for line in lines]
    assert (reason(history) is None) is allowed
    assert (reason(history[::-1]) is None) is allowed


def test_transactional_messages_need_no_consent():
    """An opt-out from everything does not stop a password reset."""
    assert reason([consent("*", "*", "out", 1)], is_transactional=True) is None


def test_a_dead_address_gets_nothing_and_a_complaint_stops_marketing():
    """A hard bounce closes the channel for every purpose, a complaint for marketing; other channels stay open."""
    bounce = [consent("email", "*", "out", 1, source="hard_bounce")]
    complaint = [consent("email", "*", "out", 1, source="complaint")]
    assert reason(bounce, is_transactional=True) is Reason.SUPPRESSED
    assert reason(bounce, policy=IN) is Reason.SUPPRESSED
    assert reason(complaint, policy=IN) is Reason.SUPPRESSED
    assert reason(complaint, is_transactional=True) is None
    assert reason(bounce, channel="push", policy=IN) is None


def test_only_an_opt_in_of_the_same_scope_reopens_a_dead_address():
    """Neither a topic's opt-in nor a later plain opt-out brings it back; a new opt-in to the channel does."""
    bounce = consent("email", "*", "out", 3, source="hard_bounce")
    assert reason([bounce, consent("email", "news", "in", 1)]) is Reason.SUPPRESSED
    assert reason([bounce, consent("email", "*", "out", 1)], is_transactional=True) is Reason.SUPPRESSED
    assert reason([bounce, consent("email", "*", "in", 1)]) is None


def test_profiling_has_its_own_word():
    """The newest line on `profiling` decides, else the playbook; unsubscribing from all messages does not touch it."""
    assert Standing([]).may_profile(ConsentPolicy(profiling="in"))
    assert not Standing([]).may_profile(ConsentPolicy(profiling="out"))
    assert Standing([consent("*", "*", "out", 1)]).may_profile(IN)
    assert not Standing([consent("profiling", "*", "in", 2), consent("profiling", "*", "out", 1)]).may_profile(IN)


def test_a_channel_needs_its_address():
    """E-mail, SMS and push need one; in-app and on-site do not. An empty or odd one is none."""
    assert has_address("inapp", {})
    assert has_address("email", {"email": "a@b.c"})
    assert not has_address("email", {"email": " "})
    assert not has_address("sms", {"phone": 44})
    assert not has_address("push", {"email": "a@b.c"})
