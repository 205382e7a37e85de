"""What was decided earlier is asked again at hand-off."""

from dataclasses import replace
from datetime import timedelta

import pytest
from tests.unit.decision.making import NOW, consent, customer, playbook, send

from opportune.decision.handoff import recheck
from opportune.domain.decisions import Reason
from opportune.domain.messages import Deliver, SendState, as_account_send

H = timedelta(hours=1)
BOOK = playbook("quiet_hours: {start: '21:00', end: '08:00'}\ncaps:\n  day: {at_most: 1, in: 1d}\n")


def ask_again(at=NOW, others=(), consents=(), who=None, **changes):
    booked = send(NOW, campaign="big", expires_at=NOW + 24 * H, **changes)
    return recheck(booked, at, who or customer(), consents, others, BOOK)


def test_nothing_changed_it_goes_now():
    """Its own reservation does not stand in its way."""
    assert ask_again() == NOW
    assert ask_again(at=NOW + 2 * H) == NOW + 2 * H


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"at": NOW + 24 * H}, Reason.EXPIRED),
        ({"who": customer(email=None)}, Reason.NO_ADDRESS),
        ({"consents": [consent("*", "*", "out", 0)]}, Reason.NO_CONSENT),
        ({"consents": [consent("email", "*", "out", 0, source="hard_bounce")]}, Reason.SUPPRESSED),
        ({"others": [send(NOW + 12 * H)]}, Reason.FREQUENCY_CAP),
    ],
)
def test_what_has_changed_since_releases_it(given, reason):
    """The reason is one of the closed list."""
    assert ask_again(**given) is reason


def test_it_is_placed_anew_where_it_may_still_go():
    """Late into the night it waits for the morning; a cap that opens in time moves it there."""
    assert ask_again(at=NOW + 10 * H) == NOW + 20 * H
    assert ask_again(others=[send(NOW - 20 * H)]) == NOW + 4 * H


def test_a_transactional_message_just_goes():
    """At night, over caps, after an opt-out; but not to a dead address."""
    no = [consent("*", "*", "out", 1)]
    free = {"purpose": "transactional", "obeys_caps": False, "topic": "account"}
    assert ask_again(at=NOW + 10 * H, others=[send(NOW)], consents=no, **free) == NOW + 10 * H
    dead = [consent("email", "*", "out", 1, source="hard_bounce")]
    assert ask_again(consents=dead, **free) is Reason.SUPPRESSED


def test_seconds_of_delay_do_not_undo_what_was_placed_exactly_apart():
    """A booking a whole window ahead gives way and moves by those seconds at its own hand-off; a caller's does not."""
    late = timedelta(seconds=3)
    ahead = send(NOW + 24 * H, state=SendState.RESERVED, deliver=Deliver.SERVICE)
    assert ask_again(at=NOW + late, others=[ahead]) == NOW + late
    gone = send(NOW + late, campaign="big", expires_at=NOW + 48 * H)
    then = recheck(replace(ahead, expires_at=NOW + 48 * H), NOW + 24 * H, customer(), (), [gone], BOOK)
    assert then == NOW + 24 * H + late
    assert ask_again(at=NOW + late, others=[replace(ahead, deliver=Deliver.CALLER)]) is Reason.FREQUENCY_CAP
    assert ask_again(at=NOW + 2 * H, others=[ahead]) is Reason.FREQUENCY_CAP


ACCOUNT_BOOK = playbook("caps:\n  company: {per: account, at_most: 1, in: 1d}\n")


def test_the_cap_of_an_account_is_asked_again():
    """What a colleague was told meanwhile holds the message back; without an account the cap does not apply."""
    mine = send(NOW, 1, campaign="big", expires_at=NOW + 48 * H, account_id="acme")
    theirs = [as_account_send(send(NOW - H, 2, customer_id="c2", account_id="acme"))]
    assert recheck(mine, NOW, customer(), (), (), ACCOUNT_BOOK, theirs) == NOW + 23 * H
    assert recheck(replace(mine, account_id=None), NOW, customer(), (), (), ACCOUNT_BOOK, theirs) == NOW


def test_a_limit_that_adapts_is_kept_until_hand_off():
    """As it was when the message was decided, but never above what the playbook declares now."""
    adapting = "{at_most: 2, in: 1d, adapt: {by: features.views_n_7d, from: 2, to: 1}}"
    book = playbook(f"caps:\n  day: {adapting}\n")
    mine = send(NOW, 1, campaign="big", expires_at=NOW + 48 * H, payload={"limits": {"day": 1}})
    others = [send(NOW - H, 2)]
    assert recheck(mine, NOW, customer(), (), others, book) == NOW + 23 * H
    assert recheck(replace(mine, payload={"limits": {"day": 9}}), NOW, customer(), (), others, book) == NOW


def test_what_a_courier_has_counts_where_it_is_not_where_it_was_booked():
    """A message on its way since a minute ago fills the windows of that minute."""
    away = replace(send(NOW - 24 * H, 2), state=SendState.RESERVED, leaving_at=NOW - 23 * H)
    assert ask_again(others=[away]) == NOW + H
