"""The HTTP door on the real flows: a story told over the paths that callers use, on the ledger's in-memory twin."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient
from tests.desks import NOON, desk_of, playbook_of
from tests.unit.api.test_door import BODIES, POSTS

from opportune.adapters.system_clock import FixedClock
from opportune.api.app import create_app
from opportune.api.parts import Parts
from opportune.settings import Settings

PLAYBOOK = """
topics: {offers: {purpose: marketing}}
consent: {default: {"*": in}}
caps: {one_a_day: {at_most: 1, in: 1d}}
triggers:
  offer: {kind: request}
  cart_abandoned: {on: {event: Product Added, key: properties.cart_id}, unless: {event: Order Completed}, wait: 1h}
campaigns:
  hello:
    trigger: offer
    topic: offers
    channels: [email]
    content: {email: {subject: Hi, body: Hello, cta: Go, url: "https://shop.example"}}
  cart:
    trigger: cart_abandoned
    topic: offers
    channels: [email]
    content: {email: {subject: Cart, body: Still there, cta: Go, url: "https://shop.example"}}
"""


@pytest.fixture
def door(tmp_path: Path) -> Iterator[TestClient]:
    """The app on real flows, noon on a Monday, no keys."""
    desk = desk_of(playbook_of(tmp_path / "playbook", PLAYBOOK), clock=FixedClock(NOON))
    configured = Settings(api_key=None, write_key=None, decide_key=None, clock="replay")
    with TestClient(create_app(Parts(settings=configured, desk=desk, freeze=False))) as client:
        yield client


def tell(door: TestClient, *items: dict[str, Any]) -> dict[str, Any]:
    answer = door.post("/v1/batch", json={"batch": list(items)})
    assert answer.status_code == 200
    return dict(answer.json())


def ask(door: TestClient, **body: Any) -> dict[str, Any]:
    answer = door.post("/v1/decisions", json={"customer_id": "c1", **body})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


IDENTIFY = {"type": "identify", "userId": "c1", "anonymousId": "a1", "messageId": "i1",
            "traits": {"email": "c1@example.com", "timezone": "UTC"}}  # fmt: skip
ADDED = {"type": "track", "userId": "c1", "event": "Product Added", "messageId": "t1",
         "properties": {"cart_id": "k1", "product_id": "p", "price": 10, "quantity": 2}}  # fmt: skip


def test_events_in_then_the_customer_is_known_by_any_of_their_ids(door: TestClient) -> None:
    assert tell(door, IDENTIFY, ADDED) == {"success": True, "accepted": 2, "rejected": []}
    tell(door, IDENTIFY, ADDED)
    known = door.get("/v1/customers/c1").json()
    assert known["traits"]["email"] == "c1@example.com"
    assert {i["value"] for i in known["identities"]} == {"c1", "a1"}
    assert [(t["name"], t["key"]) for t in known["timers"]] == [("cart_abandoned", "k1")]
    assert known["features"]["cart_value"] == pytest.approx(20.0)


def test_scores_without_a_model_are_empty_and_not_an_error(door: TestClient) -> None:
    assert door.post("/v1/scores", json={"customer_ids": ["c1", "x"]}).json() == {
        "scores": [{"customer_id": "c1"}, {"customer_id": "x"}]
    }


def test_the_same_idempotency_key_never_books_twice(door: TestClient) -> None:
    tell(door, IDENTIFY)
    headers = {"Idempotency-Key": "k"}
    answers = [door.post("/v1/decisions", json={"customer_id": "c1"}, headers=headers) for _ in range(3)]
    assert len({a.content for a in answers}) == 1
    assert len(door.get("/v1/customers/c1").json()["sends"]) == 1


def test_refused_events_are_dead_letters_that_say_how_to_mend_them(door: TestClient) -> None:
    report = tell(door, {"type": "track", "userId": "c1", "messageId": "bad"}, IDENTIFY)
    assert (report["accepted"], report["rejected"][0]["messageId"]) == (1, "bad")
    (letter,) = door.get("/v1/dead-letters").json()["dead_letters"]
    assert letter["message_id"] == "bad"
    assert letter["message"]
    assert letter["body"]["userId"] == "c1"


def test_a_batch_with_the_same_customer_twice_holds_the_cap(door: TestClient) -> None:
    tell(door, IDENTIFY)
    answer = door.post("/v1/decisions/batch", json={"customers": [{"customer_id": "c1"}] * 3 + [{"customer_id": ""}]})
    decisions = answer.json()["decisions"]
    assert [len(d["messages"]) for d in decisions[:3]] == [1, 0, 0]
    assert decisions[3]["error"]["field"] == "customers[3].customer_id"


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.sampled_from(POSTS), body=BODIES)
def test_no_body_whatever_gives_a_500_on_the_real_flows(door: TestClient, path: str, body: bytes) -> None:
    assert door.post(path, content=body).status_code < 500
