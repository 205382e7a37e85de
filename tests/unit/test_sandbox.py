"""The sandbox: a user's own tests of a playbook, with a clock that only they move."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import opportune

PLAYBOOK = """
goals: {order: {event: Order Completed}}
topics: {reminders: {purpose: marketing}}
consent: {default: {email: in, "*": out}}
quiet_hours: {start: "21:00", end: "08:00"}
caps: {weekly: {counts: {purpose: marketing}, at_most: 1, in: 7d}}
triggers:
  cart_abandoned:
    on: {event: Product Added, key: properties.cart_id}
    unless: {event: Order Completed}
    wait: 1h
  offer: {kind: request}
campaigns:
  cart_reminder:
    trigger: cart_abandoned
    topic: reminders
    channels: [email]
    content: {email: {subject: 'Still there, {{ traits.first_name | default: "friend" }}', body: hello}}
  offer:
    trigger: offer
    topic: reminders
    channels: [email]
    content: {email: {subject: s, body: b}}
"""


def test_an_abandoned_cart_is_reminded_after_exactly_an_hour() -> None:
    """Timers fire at their own instant while the clock passes them, not before and not late."""
    with opportune.sandbox(playbook=PLAYBOOK) as o:
        o.identify("c1", email="ada@example.org", timezone="Europe/London", first_name="Ada")
        o.track("c1", "Product Added", cart_id="k1", price=40)
        o.advance("59m")
        assert o.messages == []
        o.advance("3d")
        assert [(m.campaign, m.customer_id, m.content["subject"]) for m in o.messages] == [
            ("cart_reminder", "c1", "Still there, Ada")
        ]
        assert o.messages[0].at == datetime(2026, 1, 5, 12, 0, tzinfo=UTC) + timedelta(hours=1)


def test_an_order_in_time_means_silence() -> None:
    """What the trigger waited against cancels it."""
    with opportune.sandbox(playbook=PLAYBOOK) as o:
        o.identify("c1", email="ada@example.org", timezone="Europe/London")
        o.track("c1", "Product Added", cart_id="k1")
        o.advance("30m")
        o.track("c1", "Order Completed", order_id="o1", revenue=40)
        o.advance("2d")
        assert o.messages == []


def test_what_falls_into_quiet_hours_leaves_when_they_end() -> None:
    """A booked message leaves at its own slot while the clock advances in one big step."""
    with opportune.sandbox(playbook=PLAYBOOK, at="2026-01-05T21:30:00+00:00") as o:
        o.identify("c1", email="ada@example.org", timezone="Europe/London")
        o.track("c1", "Product Added", cart_id="k1")
        o.advance("1d")
        assert [m.at for m in o.messages] == [datetime(2026, 1, 6, 8, 0, tzinfo=UTC)]


def test_an_answer_has_the_shape_of_the_http_answer_and_caps_hold_across_asking_and_being_told() -> None:
    """One log: what the caller got counts against what triggers may send."""
    with opportune.sandbox(playbook=PLAYBOOK) as o:
        o.identify("c1", email="ada@example.org", timezone="Europe/London")
        answer = o.decide("c1")
        assert {"decision_id", "summary", "messages", "removed", "scores", "mode"} <= answer.keys()
        assert [m["campaign"] for m in answer["messages"]] == ["offer"]
        o.status(answer["messages"][0]["message_id"], "sent")
        o.track("c1", "Product Added", cart_id="k1")
        o.advance("2h")
        assert o.messages == []
        trace = o.explain(o.decisions("c1")[0].split()[0])
        assert [(r["campaign"], r["reason"]) for r in trace["removed"]] == [("cart_reminder", "frequency_cap")]


def test_consent_and_merges_work_as_on_a_server() -> None:
    """An opt-out holds at once; an anonymous visitor's cart belongs to whoever they turn out to be."""
    with opportune.sandbox(playbook=PLAYBOOK) as o:
        o.send({"type": "track", "anonymousId": "a1", "event": "Product Added", "properties": {"cart_id": "k"}})
        o.identify("c1", anonymous_id="a1", email="ada@example.org", timezone="Europe/London")
        o.identify("c2", email="bob@example.org", timezone="Europe/London")
        o.track("c2", "Product Added", cart_id="k2")
        o.consent("c2", "email", "out")
        o.advance("2h")
        assert [m.customer_id for m in o.messages] == ["c1"]
        assert o.customer("c1")["features"]["adds_n_7d"] == 1


def test_bad_input_says_which_field_and_what_to_do(tmp_path: Path) -> None:
    """Refusals are the door's own words; the clock never goes back; a bad playbook lists its problems."""
    with opportune.sandbox(playbook=PLAYBOOK) as o:
        with pytest.raises(ValueError, match="event is missing"):
            o.track("c1", "")
        with pytest.raises(ValueError, match="only moves forward"):
            o.advance(o.now - timedelta(seconds=1))
        with pytest.raises(ValueError, match="not a duration"):
            o.advance("soon")
        with pytest.raises(ValueError, match="has no trigger 'nope'"):
            o.decide("c1", "nope")
        with pytest.raises(KeyError):
            o.customer("nobody")
    with pytest.raises(ValueError, match="no such folder"), opportune.sandbox(playbook=tmp_path / "none"):
        pass


def test_two_runs_of_a_sandbox_are_the_same() -> None:
    """Nothing in it depends on the wall clock or on chance."""

    def run() -> list[object]:
        with opportune.sandbox(playbook=PLAYBOOK) as o:
            o.identify("c1", email="ada@example.org", timezone="Asia/Tokyo")
            o.track("c1", "Product Added", cart_id="k1")
            o.advance("2d")
            return [*o.messages, *o.decisions()]

    assert run() == run()


def test_a_test_customer_is_decided_deterministically_where_others_are_explored() -> None:
    """is_test from a trait to the log: exploration at rate 1 draws for everybody but them."""
    explored = PLAYBOOK + "exploration: {rate: 1.0}\n"
    with opportune.sandbox(playbook=explored) as o:
        for n in range(40):
            for kind, is_test in (("t", True), ("p", False)):
                o.identify(f"{kind}{n}", email="x@example.org", timezone="Europe/London", is_test=is_test)
        tested = [o.decide(f"t{n}") for n in range(40)]
        others = [o.decide(f"p{n}") for n in range(40)]
    assert all([m["campaign"] for m in d["messages"]] == ["offer"] for d in tested)
    assert {m["action_probability"] for d in tested for m in d["messages"]} == {1.0}
    assert 5 < sum(not d["messages"] for d in others) < 35
