"""Consent that comes with events: categoryPreferences of Segment's consent management, and what closes a channel."""

from dataclasses import replace
from typing import Any

import pytest
from tests.unit.flows.ingesting import Shop, event, identify

from opportune.decision.consent import Standing
from opportune.domain.customers import Consent, ConsentState
from opportune.domain.events import Event
from opportune.features.state import finalise, pack, rebuild
from opportune.flows.consent import put
from opportune.playbook.reach import ConsentPolicy

OUT = ConsentPolicy()


def stating(it: Event, **categories: Any) -> Event:
    return replace(it, context={"consent": {"categoryPreferences": categories}})


def lines(shop: Shop, customer_id: str = "c1") -> list[Consent]:
    with shop.ledger.read() as uow:
        return uow.consents.of([customer_id]).get(customer_id, [])


def may(shop: Shop, channel: str, customer_id: str = "c1") -> bool:
    return Standing(lines(shop, customer_id)).refusal(channel, "news", False, OUT) is None


def test_identify_states_consent_per_channel_and_for_profiling() -> None:
    """One line per known category, as of the event's time, the message id as proof; once however often it is heard."""
    shop = Shop()
    said = stating(identify(1, "c1"), email=True, sms=False, profiling=False, Advertising=True, push="yes")
    shop.take(said, said)
    shop.take(said)
    found = {(c.channel, c.topic): c for c in lines(shop)}
    assert {k: c.state.value for k, c in found.items()} == {
        ("email", "*"): "in", ("sms", "*"): "out", ("profiling", "*"): "out",
    }  # fmt: skip
    assert {c.source for c in found.values()} == {"consent_preferences"}
    assert {c.proof["message_id"] for c in found.values()} == {said.message_id}
    assert {c.at for c in found.values()} == {said.event_at}
    assert may(shop, "email")
    assert not may(shop, "sms")
    assert not Standing(lines(shop)).may_profile(ConsentPolicy(profiling="in"))


def test_other_events_that_carry_the_stamp_state_nothing() -> None:
    """Consent libraries stamp every call; only identify and the event of an update are read."""
    shop = Shop()
    shop.take(stating(event("Product Viewed", 1), email=True))
    assert lines(shop) == []


@pytest.mark.parametrize("stated", [None, [], "in", {"categoryPreferences": 3}, {"categoryPreferences": [1]}])
def test_a_stamp_of_another_shape_is_ignored(stated: Any) -> None:
    """Nothing is stated, nothing fails."""
    shop = Shop()
    shop.take(replace(identify(1, "c1"), context={"consent": stated}))
    assert lines(shop) == []


@pytest.mark.parametrize("closing", ["Unsubscribed", "Email Marked as Spam", "Email Bounced"])
def test_an_old_copy_of_a_preference_never_lifts_an_opt_out(closing: str) -> None:
    """The true that identify repeats after an unsubscribe, complaint or bounce opens nothing, in any order."""
    for order in (1, -1):
        shop = Shop()
        events = [
            stating(identify(1, "c1"), email=True),
            event(closing, 2),
            stating(identify(3, "c1"), email=True, push=True),
        ]
        for it in events[::order]:
            shop.take(it)
        assert not may(shop, "email")
        assert may(shop, "push")


def test_a_stated_update_lifts_an_unsubscribe() -> None:
    """The customer's own new word counts."""
    shop = Shop()
    shop.take(event("Unsubscribed", 2), stating(event("Segment Consent Preference Updated", 3), email=True))
    assert may(shop, "email")


def test_a_preference_withdrawn_and_given_again_by_identify_counts() -> None:
    """What the same source took back it may give back."""
    shop = Shop()
    shop.take(stating(identify(1, "c1"), email=False), stating(identify(2, "c1"), email=True))
    assert may(shop, "email")


def test_an_unsubscribe_is_from_the_channel_it_names() -> None:
    """`properties.channel`; e-mail when there is none."""
    shop = Shop()
    shop.take(
        stating(identify(1, "c1"), email=True, push=True), event("Unsubscribed", 2, properties={"channel": "push"})
    )
    assert may(shop, "email")
    assert not may(shop, "push")
    assert [c.state for c in lines(shop) if c.channel == "push"] == [ConsentState.IN, ConsentState.OUT]


def test_consent_by_the_api_is_an_event_of_the_log_and_so_a_feature() -> None:
    """The consent call leaves `Consent Changed` in the customer's log; replaying the log gives the same features."""
    shop = Shop()
    shop.take(identify(1, "c1"))
    for state in ("out", "out"):
        put(
            customer_id="c1", channel="sms", topic="*", state=state, source="form", at=shop.now(),
            ledger=shop.ledger, clock=shop,
        )  # fmt: skip
    put(
        customer_id="c1", channel="email", topic="news", state="out", source="form", at=None,
        ledger=shop.ledger, clock=shop,
    )  # fmt: skip
    with shop.ledger.read() as uow:
        log, row = uow.events.of(["c1"])["c1"], uow.states.get(["c1"])["c1"]
    assert [e.name for e in log].count("Consent Changed") == 2  # the same words twice are one
    assert pack(rebuild(log)) == row.state
    values = finalise(rebuild(log), shop.now())
    assert (values["is_sms_out"], values["is_email_out"], values["is_push_out"]) == (True, False, False)
    assert values["last_active_age_days"] is not None
