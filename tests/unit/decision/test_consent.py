"""Consent, suppression and profiling: the strictest reading, and what lifts it."""

import pytest
from tests.unit.decision.making import NOW, consent, customer

from opportune.decision.consent import Policies, Standing, has_address, unreachable
from opportune.domain.decisions import Reason
from opportune.domain.suppressions import ListedBy, Suppression
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


BY_COUNTRY = ConsentPolicy.model_validate(
    {
        "default": {"email": "in", "push": "in", "*": "out"},
        "by_country": {
            "DE": {"default": {"*": "out"}, "profiling": "out"},
            "EU": {"default": {"email": "in"}},
            "EEA": {"profiling": "out"},
        },
    }
)


@pytest.mark.parametrize(
    ("traits", "email", "push", "profiled"),
    [
        ({"country": "US"}, True, True, True),  # not declared: what holds elsewhere
        ({"country": "germany"}, False, False, False),  # its own block takes the place of the whole default
        ({"country": "FR"}, True, False, True),  # in the EU; the EEA's block is for those who are not
        ({"address": {"country": "NO"}}, True, True, False),
        ({}, False, False, False),  # not known: out wherever any of them says so
        ({"country": "Atlantis"}, False, False, False),
        ({"country": 49, "timezone": "America/New_York"}, False, False, False),  # a zone is no statement
    ],
)
def test_each_country_has_its_own_default_and_the_unknown_the_strictest(traits, email, push, profiled):
    """A country's block before its groups, EU before EEA, these before elsewhere."""
    policy = Policies(BY_COUNTRY).of(traits)
    assert (reason([], "email", policy=policy) is None) is email
    assert (reason([], "push", policy=policy) is None) is push
    assert Standing([]).may_profile(policy) is profiled


def test_what_a_customer_says_goes_before_any_country():
    """An opt-in in Germany, an opt-out in America."""
    policies = Policies(BY_COUNTRY)
    assert reason([consent("email", "*", "in", 1)], policy=policies.of({"country": "DE"})) is None
    assert reason([consent("email", "*", "out", 1)], policy=policies.of({"country": "US"})) is Reason.NO_CONSENT


@pytest.mark.parametrize(
    ("by", "channel", "purpose", "marketing", "transactional"),
    [
        (ListedBy.CUSTOMER, "inapp", "all", True, True),
        (ListedBy.CUSTOMER, "email", "marketing", True, False),
        (ListedBy.EMAIL, "email", "all", True, True),
        (ListedBy.EMAIL, "push", "all", False, False),
        (ListedBy.PHONE, "sms", "marketing", True, False),
        (ListedBy.PHONE, "email", "all", False, False),
    ],
)
def test_a_suppression_list_closes_what_it_names(by, channel, purpose, marketing, transactional):
    """A customer every channel, an address e-mail, a number SMS; all purposes, or marketing alone. No opt-in helps."""
    entry = Suppression(by=by, digest="0" * 64, purpose=purpose, is_on=True, source="list", at=NOW)
    agreed = Standing([consent(channel, "*", "in", 0)])

    def is_stopped(is_transactional):
        found = unreachable(channel, "news", is_transactional, customer(), agreed, [entry], IN)
        return found is not None and found.reason is Reason.SUPPRESSED and found.listed is entry

    assert (is_stopped(False), is_stopped(True)) == (marketing, transactional)


def test_a_stamped_copy_of_preferences_never_undoes_a_withdrawal_of_profiling():
    """`identify` carries an old copy; the customer's own word on the page came before it and holds."""
    withdrawn = consent("profiling", "*", "out", 2, source="unsubscribed")
    stamped = consent("profiling", "*", "in", 1, source="consent_preferences")
    assert not Standing([withdrawn, stamped]).may_profile(IN)
    assert Standing([withdrawn, consent("profiling", "*", "in", 1)]).may_profile(IN)
    everything = consent("*", "*", "out", 3, source="unsubscribed")
    assert Standing([everything, stamped]).may_profile(ConsentPolicy(profiling="out"))


def test_a_scope_is_withdrawn_until_something_in_it_is_agreed_again():
    """So that the same unsubscribe twice is one line, and one after a new opt-in is news."""
    out = consent("email", "*", "out", 2)
    assert Standing([out]).is_withdrawn("email", "*")
    assert not Standing([out]).is_withdrawn("email", "news")
    assert not Standing([out, consent("email", "news", "in", 1)]).is_withdrawn("email", "*")
    assert Standing([out, consent("push", "*", "in", 1)]).is_withdrawn("email", "*")
    assert Standing([out, consent("profiling", "*", "in", 1)]).is_withdrawn("email", "*")
