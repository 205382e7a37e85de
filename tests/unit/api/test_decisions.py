"""POST /v1/decisions and its neighbours, with the flow faked."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import orjson
import pytest

from opportune.domain.messages import Deliver

from .conftest import NOW, House


def ask(house: House, body: Any, **headers: str) -> Any:
    return house.client.post("/v1/decisions", content=orjson.dumps(body), headers=headers)


def test_a_decision_answers_with_every_member_of_the_contract(house: House) -> None:
    answer = ask(house, {"customer_id": "c42"})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert set(answer.json()) >= {
        "decision_id", "customer_id", "decided_at", "playbook", "mode", "degraded", "currency", "summary",
        "scores", "messages", "removed", "nothing_probability", "exposures",
    }  # fmt: skip
    message, removed = answer.json()["messages"][0], answer.json()["removed"][0]
    assert set(message) >= {
        "message_id", "rank", "campaign", "trigger", "step", "channel", "variant", "send_at", "expires_at",
        "value_minor", "action_probability", "content", "headers", "reasons",
    }  # fmt: skip
    assert removed["reason"] == "frequency_cap"
    assert removed["detail"] == {"limit": 3, "found": 3}


def test_what_was_asked_reaches_the_flow_whole(house: House) -> None:
    body = {
        "customer_id": 42, "at": "2026-02-01T00:00:00Z", "channels": ["email", "push", "email"], "trigger": "asked",
        "context": {"cart_value": 80}, "max_messages": 3, "deliver": "service", "dry_run": True, "explain": True,
    }  # fmt: skip
    assert ask(house, body).status_code == 200
    ((got,),) = house.flows.calls
    assert got.customer_id == "42"
    assert got.at is not None
    assert got.at.isoformat() == "2026-02-01T00:00:00+00:00"
    assert got.channels == ("email", "push")
    assert (got.trigger, got.context, got.max_messages) == ("asked", {"cart_value": 80}, 3)
    assert (got.deliver, got.dry_run, got.explain) == (Deliver.SERVICE, True, True)


def test_nulls_mean_what_leaving_out_means(house: House) -> None:
    names = ("at", "channels", "trigger", "context", "max_messages", "deliver", "dry_run", "explain")
    ask(house, {"customer_id": "c"})
    ask(house, {"customer_id": "c", **dict.fromkeys(names)})
    assert house.flows.calls[0] == house.flows.calls[1]


BAD: list[tuple[str, dict[str, Any]]] = [
    ("customer_id", {"customer_id": None}),
    ("customer_id", {"customer_id": ""}),
    ("customer_id", {"customer_id": "x" * 257}),
    ("customer_id", {"customer_id": "a\u0000b"}),
    ("customer_id", {"customer_id": True}),
    ("customer_id", {"customer_id": 1.5}),
    ("customer_id", {"customer_id": ["c"]}),
    ("at", {"at": "yesterday"}),
    ("at", {"at": 5}),
    ("at", {"at": "2026-02-01T00:00:00Z"}),
    ("at", {"at": "2027-02-01T00:00:00Z", "dry_run": True}),
    ("at", {"at": "1969-12-31T00:00:00Z", "dry_run": True}),
    ("at", {"at": "0001-01-01T00:00:00+14:00", "dry_run": True}),
    ("channels", {"channels": "email"}),
    ("channels", {"channels": []}),
    ("channels[1]", {"channels": ["email", "fax"]}),
    ("channels[0]", {"channels": [{}]}),
    ("trigger", {"trigger": "unheard_of"}),
    ("trigger", {"trigger": 3}),
    ("context", {"context": [1]}),
    ("max_messages", {"max_messages": 0}),
    ("max_messages", {"max_messages": 21}),
    ("max_messages", {"max_messages": 1.0}),
    ("max_messages", {"max_messages": True}),
    ("deliver", {"deliver": "pigeon"}),
    ("dry_run", {"dry_run": "yes"}),
    ("explain", {"explain": 1}),
    ("surprise", {"surprise": 1}),
]


@pytest.mark.parametrize(("field", "change"), BAD)
def test_a_bad_field_is_422_and_named_with_what_to_do(house: House, field: str, change: dict[str, Any]) -> None:
    answer = ask(house, {"customer_id": "c", **change})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["field"] == field
    assert problem["status"] == 422
    assert problem["detail"] == problem["message"] != ""
    assert problem["type"] == f"urn:opportune:problem:{problem['code']}"
    assert not house.flows.calls


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"3", b"\xff", b'{"customer_id": NaN}', b"[" * 2000])
def test_a_body_that_is_no_json_object_is_400(house: House, body: bytes) -> None:
    answer = house.client.post("/v1/decisions", content=body)
    assert answer.status_code == 400
    assert answer.json()["code"]


def test_at_within_seconds_of_now_is_now(house: House) -> None:
    assert ask(house, {"customer_id": "c", "at": (NOW - timedelta(seconds=3)).isoformat()}).status_code == 200
    assert house.flows.calls[0][0].at is None


def test_what_the_flow_refuses_is_422_with_its_field(house: House) -> None:
    answer = ask(house, {"customer_id": "refused"})
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (422, "no_such_thing", "context.x")


def test_an_unavailable_ledger_is_503_with_retry_after(house: House) -> None:
    answer = ask(house, {"customer_id": "down"})
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.json()["code"] == "unavailable"


def test_an_unforeseen_error_is_500_without_internals(house: House) -> None:
    answer = ask(house, {"customer_id": "boom"})
    assert answer.status_code == 500
    assert "bug" not in answer.text
    assert "Zero" not in answer.text


def test_a_body_that_is_too_large_is_413(house: House) -> None:
    answer = ask(house, {"customer_id": "c", "context": {"x": "y" * 300_000}})
    assert answer.status_code == 413
    assert answer.json()["code"]


# -- batches


def batch(house: House, body: Any, **headers: str) -> Any:
    return house.client.post("/v1/decisions/batch", content=orjson.dumps(body), headers=headers)


def test_a_batch_answers_in_order_and_one_bad_item_does_not_fail_the_rest(house: House) -> None:
    customers: list[Any] = [{"customer_id": f"c{i}"} for i in range(150)]
    customers[3] = {"customer_id": "refused"}
    customers[7] = {"customer_id": ""}
    customers[9] = 5
    customers[70] = {"customer_id": "boom"}
    answer = batch(house, {"customers": customers, "max_messages": 2})
    assert answer.status_code == 200
    items = answer.json()["decisions"]
    assert len(items) == 150
    for i, item in enumerate(items):
        if i in (3, 7, 9, 70):
            assert set(item["error"]) == {"code", "field", "message"}
        else:
            assert item["customer_id"] == f"c{i}"
            assert item["decision_id"]
    assert items[7]["error"]["field"] == "customers[7].customer_id"
    assert items[9]["error"]["field"] == "customers[9]"
    assert items[70]["error"]["code"] == "internal"
    assert {a.max_messages for call in house.flows.calls for a in call} == {2}


def test_a_batch_of_a_thousand_is_taken_and_one_more_is_not(house: House) -> None:
    customers = [{"customer_id": f"c{i}"} for i in range(1000)]
    answer = batch(house, {"customers": customers, "dry_run": True})
    assert [d["customer_id"] for d in answer.json()["decisions"]] == [c["customer_id"] for c in customers]
    assert max(len(call) for call in house.flows.calls) <= 64
    refused = batch(house, {"customers": [*customers, {"customer_id": "x"}]})
    assert (refused.status_code, refused.json()["field"]) == (422, "customers")


@pytest.mark.parametrize(
    ("body", "field"),
    [({}, "customers"), ({"customers": []}, "customers"), ({"customers": {}}, "customers"),
     ({"customers": [{"customer_id": "c"}], "channels": ["fax"]}, "channels[0]"),
     ({"customers": [{"customer_id": "c"}], "customer_id": "c"}, "customer_id")],
)  # fmt: skip
def test_what_is_wrong_for_all_of_a_batch_is_422(house: House, body: Any, field: str) -> None:
    answer = batch(house, body)
    assert (answer.status_code, answer.json()["field"]) == (422, field)


def test_an_item_says_otherwise_than_its_batch(house: House) -> None:
    batch(house, {"customers": [{"customer_id": "a", "max_messages": 5}, {"customer_id": "b"}], "max_messages": 1})
    assert [a.max_messages for a in house.flows.calls[0]] == [5, 1]


def test_a_batch_on_an_unavailable_ledger_is_503(house: House) -> None:
    house.flows.is_down = True
    assert batch(house, {"customers": [{"customer_id": "a"}]}).status_code == 503


# -- idempotency


def test_the_same_key_and_body_get_the_stored_answer_and_decide_once(house: House) -> None:
    first = ask(house, {"customer_id": "c", "max_messages": 1}, **{"Idempotency-Key": "k1"})
    again = house.client.post(
        "/v1/decisions", content=b'{ "max_messages": 1, "customer_id": "c" }', headers={"Idempotency-Key": "k1"}
    )
    assert first.content == again.content
    assert again.headers["idempotent-replayed"] == "true"
    assert len(house.flows.calls) == 1


def test_the_same_key_with_another_body_is_422(house: House) -> None:
    ask(house, {"customer_id": "c"}, **{"Idempotency-Key": "k1"})
    answer = ask(house, {"customer_id": "d"}, **{"Idempotency-Key": "k1"})
    assert (answer.status_code, answer.json()["code"]) == (422, "key_reused")


def test_a_key_in_flight_is_409(house: House) -> None:
    from opportune.api.idempotency import body_hash

    body = orjson.dumps({"customer_id": "c"})
    with house.ledger.begin() as uow:
        assert uow.idempotency.open("decisions:k1", body_hash(body), NOW)
    answer = ask(house, {"customer_id": "c"}, **{"Idempotency-Key": "k1"})
    assert (answer.status_code, answer.json()["code"]) == (409, "in_flight")
    house.clock.advance(NOW + timedelta(minutes=6))
    assert ask(house, {"customer_id": "c"}, **{"Idempotency-Key": "k1"}).status_code == 200, (
        "its process must have died"
    )


def test_a_failed_request_may_be_tried_again_under_its_key(house: House) -> None:
    house.flows.is_down = True
    assert ask(house, {"customer_id": "c"}, **{"Idempotency-Key": "k1"}).status_code == 503
    house.flows.is_down = False
    assert ask(house, {"customer_id": "c"}, **{"Idempotency-Key": "k1"}).status_code == 200


def test_a_key_is_forgotten_after_a_day(house: House) -> None:
    ask(house, {"customer_id": "c"}, **{"Idempotency-Key": "k1"})
    house.clock.advance(NOW + timedelta(hours=25))
    assert ask(house, {"customer_id": "d"}, **{"Idempotency-Key": "k1"}).status_code == 200


def test_batches_are_idempotent_too(house: House) -> None:
    body = {"customers": [{"customer_id": "c"}]}
    first, again = (batch(house, body, **{"Idempotency-Key": "k1"}) for _ in range(2))
    assert first.content == again.content
    assert len(house.flows.calls) == 1


# -- reading


def test_a_stored_decision_is_found_with_its_trace_and_a_missing_one_is_404(house: House) -> None:
    assert house.client.get("/v1/decisions/d-1").json() == {"decision_id": "d-1", "explained": False}
    assert house.client.get("/v1/decisions/d-1?explain=true").json()["explained"] is True
    assert house.client.get("/v1/decisions/d-1?explain=perhaps").status_code == 422
    missing = house.client.get("/v1/decisions/nope")
    assert (missing.status_code, missing.json()["code"]) == (404, "decision_not_found")


def test_scores_are_asked_for_many_and_bad_lists_are_named(house: House) -> None:
    body = {"customer_ids": ["a", 7], "models": ["purchase"], "at": "2026-02-01", "explain": True}
    assert house.client.post("/v1/scores", json=body).json() == {"scores": [{"customer_id": "a"}, {"customer_id": "7"}]}
    ((ids, models, at, _, explain),) = house.flows.scores_asked
    assert (ids, models, at.isoformat(), explain) == (["a", "7"], ["purchase"], "2026-02-01T00:00:00+00:00", True)
    for field, bad in [
        ("customer_ids", {}), ("customer_ids", {"customer_ids": []}), ("customer_ids[1]", {"customer_ids": ["a", {}]}),
        ("models", {"customer_ids": ["a"], "models": "purchase"}), ("at", {"customer_ids": ["a"], "at": "2030-01-01"}),
        ("model", {"customer_ids": ["a"], "model": []}), ("customer_ids", {"customer_ids": ["a"] * 1001}),
    ]:  # fmt: skip
        answer = house.client.post("/v1/scores", json=bad)
        assert (answer.status_code, answer.json()["field"]) == (422, field)


def test_decisions_need_the_decide_scope(open_door: Callable[..., House]) -> None:
    house = open_door(api_key="A", write_key="W", decide_key="D")
    for key, status in [("A", 200), ("D", 200), ("W", 403), ("x", 401)]:
        assert ask(house, {"customer_id": "c"}, Authorization=f"Bearer {key}").status_code == status
    assert ask(house, {"customer_id": "c"}).status_code == 401
    assert house.client.post("/v1/decisions", json={"customer_id": "c"}, auth=("D", "")).status_code == 200
