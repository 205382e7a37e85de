"""Any past moment explained, and what if: read-only, from what was known then."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

import opportune
from opportune.domain.envelopes import Reading, read_envelope
from opportune.domain.events import Event, Origin
from opportune.flows.explain import Assumed, explain_moment, moment_in_words

START = datetime(2026, 1, 5, 12, tzinfo=UTC)


@pytest.fixture
def o() -> Iterator[opportune.Sandbox]:
    """The default playbook; Ada left a small cart an hour ago."""
    with opportune.sandbox() as box:
        box.identify("ada", email="ada@example.org", timezone="Europe/London")
        box.track("ada", "Product Added", cart_id="k1", product_id="p1", name="Teapot", price=12)
        box.advance("2h")
        yield box


def event(what: str, at: datetime, **properties: object) -> Event:
    item = {"type": "track", "userId": "ada", "event": what, "properties": properties, "timestamp": at.isoformat()}
    return read_envelope(
        item, Reading(received_at=at, origin=Origin.LIVE, new_id=lambda: f"assumed-{what}", retention=None)
    )


def test_the_gate_that_shut_is_named_with_what_it_found_and_what_would_open_it(o: opportune.Sandbox) -> None:
    """A cart of 12 where 30 is needed; the event that fired is the one in the log."""
    told = explain_moment("ada", "cart_reminder", START + timedelta(hours=1), o.desk, channel="email")
    assert told["messages"] == []
    (remedy,) = told["remedies"]
    assert remedy["would_be_sent"]
    assert remedy["changes"][0]["text"] == "features.cart_value at least 30 (it is 12.0)"
    assert remedy["changes"][0]["values"] == [{"name": "features.cart_value", "found": 12.0, "to": 30.0}]
    assert told["triggered"].startswith("cart_abandoned: by e-")
    assert "not by email: qualify: condition_false" in moment_in_words(told)


def test_before_anything_happened_there_was_nothing_to_fire_it(o: opportune.Sandbox) -> None:
    """What was not known then plays no part."""
    told = explain_moment("ada", "cart_reminder", START - timedelta(hours=1), o.desk)
    assert "no Product Added was known by then" in told["triggered"]
    assert told["features"]["cart_value"] == 0.0


def test_what_if_compares_with_how_it_was_and_leaves_no_trace(o: opportune.Sandbox) -> None:
    """One more product in the cart would have sent it; the log holds nothing of it."""
    before = (o.decisions(), o.customer("ada")["features"]["cart_value"])
    at = START + timedelta(hours=1)
    more = Assumed(events=[event("Product Added", at, cart_id="k1", product_id="p2", name="Kettle", price=25)])
    told = explain_moment("ada", "cart_reminder", at, o.desk, assumed=more)
    assert [m["campaign"] for m in told["messages"]] == ["cart_reminder"]
    assert told["as_it_was"]["messages"] == []
    assert "Kettle" in told["messages"][0]["content"]["body"]
    assert (o.decisions(), o.customer("ada")["features"]["cart_value"]) == before
    assert "As it was:" in moment_in_words(told)


def test_an_assumed_trait_counts(o: opportune.Sandbox) -> None:
    """Without an address nothing goes by e-mail."""
    told = explain_moment(
        "ada", "cart_reminder", o.now, o.desk, channel="email", assumed=Assumed(traits={"email": None})
    )
    assert [c["reason"] for c in told["remedies"][0]["changes"]] == ["condition_false", "no_address"]


def test_a_stored_decision_carries_what_would_have_sent_the_rest(o: opportune.Sandbox) -> None:
    """One remedy per campaign and channel that was removed."""
    decision_id = o.decisions("ada")[0].split()[0]
    remedies = o.explain(decision_id)["remedies"]
    assert {(r["campaign"], r["channel"]) for r in remedies} == {("cart_reminder", "email"), ("cart_reminder", "push")}
    assert all("features.cart_value at least 30" in r["text"] for r in remedies)


def test_an_unknown_campaign_or_channel_says_which_there_are(o: opportune.Sandbox) -> None:
    """The message lists the names."""
    with pytest.raises(LookupError, match="it has: browse_reminder, cart_reminder"):
        explain_moment("ada", "nope", o.now, o.desk)
    with pytest.raises(LookupError, match="but by email, push"):
        explain_moment("ada", "cart_reminder", o.now, o.desk, channel="sms")
