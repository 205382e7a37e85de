"""What holds on every path: problems, probes, documents, and no 500 for any input."""

import re
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from opportune.api import asks, models
from opportune.api.problems import Refusal

from .conftest import NOW, House
from .test_decisions import BAD

POSTS = [
    "/v1/identify", "/v1/track", "/v1/page", "/v1/screen", "/v1/group", "/v1/alias", "/v1/batch", "/v1/decisions",
    "/v1/decisions/batch", "/v1/scores", "/v1/messages/m-1/status", "/v1/clock",
    "/v1/suppressions", "/unsubscribe/1.x.y", "/preferences/1.x.y",
]  # fmt: skip
FIELDS = [
    "customer_id", "customer_ids", "customers", "at", "now", "channels", "trigger", "context", "max_messages",
    "deliver", "dry_run",
    "status", "reason", "channel", "topic", "state", "source", "batch", "type", "userId", "anonymousId",
    "entries", "email", "phone", "purpose", "proof",
    "event", "messageId", "timestamp", "sentAt", "properties", "traits", "previousId", "groupId", "models", "writeKey",
]  # fmt: skip
TEXTS = st.one_of(
    st.text(max_size=8),
    st.sampled_from(["email", "sent", "out", "track", "c1", "2026-03-01T12:00:00Z", "0001-01-01T00:00:00+14:00",
                     "9999-12-31T23:59:59-14:00", "\x00", "\ud800", "x" * 300, "asked", "*"]),
)  # fmt: skip
LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), TEXTS, st.sampled_from([2**70, -(2**63), 1e308, float("inf")])
)
JSON = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(st.sampled_from(FIELDS), TEXTS), inner, max_size=4),
    ),
    max_leaves=12,
)
BODIES = st.one_of(
    st.binary(max_size=40),
    st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=6).map(lambda d: as_json(d)),
    JSON.map(lambda d: as_json(d)),
)


def as_json(value: Any) -> bytes:
    """JSON as loose clients write it: NaN, huge numbers and lone surrogates included."""
    import json

    return json.dumps(value).encode()


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.sampled_from(POSTS), body=BODIES)
def test_no_body_whatever_gives_a_500(house: House, path: str, body: bytes) -> None:
    answer = house.client.post(path, content=body)
    assert answer.status_code < 500
    if answer.status_code >= 400 and path.startswith("/v1/"):
        assert {"type", "title", "status", "detail", "code", "message"} <= set(answer.json())


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=BODIES, name=st.text(alphabet=st.characters(codec="utf-8"), min_size=1, max_size=10))
def test_no_path_or_query_whatever_gives_a_500(house: House, body: bytes, name: str) -> None:
    from urllib.parse import quote

    part = quote(name, safe="")
    client = house.client
    answers = [
        client.put(f"/v1/customers/{part}/consent", content=body),
        client.get(f"/v1/messages?due_before={part}&limit={part}&deliver={part}"),
        client.get(f"/v1/messages?due_before={part}"),
        client.get(f"/v1/dead-letters?limit={part}"),
        client.get(f"/v1/decisions/{part}?explain={part}"),
        client.get(f"/v1/{part}"),
        client.get(f"/unsubscribe/{part}"),
        client.post(f"/preferences/{part}", content=body),
        client.post(f"/v1/messages/{part}/status", content=body),
    ]
    assert all(a.status_code < 500 for a in answers)


def test_an_unknown_path_and_a_wrong_method_are_problems(house: House) -> None:
    for answer, status in [
        (house.client.get("/nowhere"), 404),
        (house.client.get("/v1/decisions"), 405),
        (house.client.delete("/v1/track"), 405),
        (house.client.get("/v1/decisions/batch/x"), 404),
        (house.client.get("/docs/assets/app.py"), 404),
    ]:
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"
        assert {"type", "title", "status", "detail", "code", "message"} <= set(answer.json())


def test_the_probes_say_whether_the_process_lives_and_can_serve(house: House) -> None:
    assert house.client.get("/livez").status_code == 200
    assert house.client.get("/readyz").json()["status"] == "ready"


def test_a_door_whose_ledger_cannot_be_read_is_alive_and_not_ready(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    from opportune.ports import Unavailable

    def broken() -> None:
        raise Unavailable("the database cannot be reached")

    monkeypatch.setattr(type(house.ledger), "read", lambda self: broken())
    assert house.client.get("/livez").status_code == 200
    answer = house.client.get("/readyz")
    assert (answer.status_code, answer.json()["code"]) == (503, "ledger_unavailable")


def test_metrics_count_events_decisions_by_mode_and_removals_by_reason(house: House) -> None:
    house.client.post("/v1/track", json={"userId": "u", "event": "e"})
    house.client.post("/v1/t/", json={"userId": "u", "event": "e"})
    house.client.post("/v1/decisions", json={"customer_id": "c"})
    house.client.post("/v1/decisions", json={})
    text = house.client.get("/metrics").text
    assert 'opportune_features_coverage{view="customer_state"}' in text
    assert 'opportune_features_lag_seconds{view="customer_features"}' in text
    for line in (
        'opportune_events_total{result="accepted"} 2.0',
        'opportune_decisions_total{mode="full"} 1.0',
        'opportune_removals_total{reason="frequency_cap",stage="place"} 1.0',
        'opportune_messages_total{campaign="hello",channel="email"} 1.0',
        'opportune_http_requests_total{method="POST",path="/v1/track",status="200"} 2.0',
        'opportune_http_requests_total{method="POST",path="/v1/decisions",status="422"} 1.0',
        'opportune_waiting{kind="decide"} 0.0',
    ):
        assert line in text


def test_the_reference_is_served_with_local_assets_only(house: House) -> None:
    page = house.client.get("/docs")
    assert page.status_code == 200
    assert not re.search(r"(src|href)=\"(https?:)?//", page.text)
    for name in re.findall(r'(?:src|href)="([^"]+)"', page.text):
        asset = house.client.get("/" + name)
        assert asset.status_code == 200
        assert len(asset.content) > 100


def test_openapi_documents_every_path_with_examples_that_run(house: House) -> None:
    document = house.client.get("/openapi.json").json()
    assert {
        "/v1/track", "/v1/batch", "/v1/decisions", "/v1/decisions/batch", "/v1/decisions/{decision_id}", "/v1/scores",
        "/v1/customers/{customer_id}", "/v1/customers/{customer_id}/consent", "/v1/messages/{message_id}/status",
        "/v1/suppressions", "/v1/messages", "/v1/playbook", "/v1/dead-letters", "/v1/clock", "/livez", "/readyz",
    } <= set(document["paths"])  # fmt: skip
    names = set(re.findall(r'"#/components/schemas/(\w+)"', orjson.dumps(document).decode()))
    assert names <= set(document["components"]["schemas"])
    n_run = 0
    for path, methods in document["paths"].items():
        if "{" in path or path == "/v1/clock":
            continue
        for method, operation in methods.items():
            content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
            for example in content.get("examples", {}).values():
                answer = house.client.request(method, path, json=example["value"])
                assert answer.status_code == 200, (path, example, answer.text)
                n_run += 1
    assert n_run >= 10


GOOD: list[dict[str, Any]] = [
    {"customer_id": "c"},
    {"customer_id": 5},
    {"customer_id": "c", "at": None, "channels": ["email"], "context": {"a": {"b": 1}}, "max_messages": 20},
    {"customer_id": "c", "trigger": "asked", "deliver": "caller", "dry_run": True, "explain": False},
]
#: What only the hand validation can know: the playbook, the clock, characters and lengths of ids.
ONLY_BY_HAND = {"at", "trigger", "customer_id"}


def agrees(model: type[BaseModel], value: Any) -> bool:
    try:
        model.model_validate_json(orjson.dumps(value))
    except ValidationError:
        return False
    return True


def test_the_documented_model_and_the_hand_validation_agree_on_examples(house: House) -> None:
    for good in GOOD:
        assert agrees(models.AskBody, good)
        asks.read_ask(good, house.parts.playbook, NOW)
    for field, change in BAD:
        with pytest.raises(Refusal):
            asks.read_ask({"customer_id": "c", **change}, house.parts.playbook, NOW)
        if field not in ONLY_BY_HAND:
            assert not agrees(models.AskBody, {"customer_id": "c", **change}), change
    assert set(models.AskBody.model_fields) == asks.ASK_FIELDS


def test_every_admin_path_is_closed_to_the_other_keys(open_door: Callable[..., House]) -> None:
    house = open_door(api_key="A", write_key="W", decide_key="D")
    for method, path in [
        ("GET", "/v1/customers/c"), ("PUT", "/v1/customers/c/consent"), ("GET", "/v1/playbook"),
        ("GET", "/v1/dead-letters"), ("POST", "/v1/clock"), ("POST", "/v1/suppressions"),
    ]:  # fmt: skip
        for key, expected in [("W", 403), ("D", 403), ("x", 401)]:
            answer = house.client.request(method, path, headers={"Authorization": f"Bearer {key}"}, json={})
            assert answer.status_code == expected, path
    for path in ("/livez", "/readyz", "/metrics", "/docs", "/openapi.json"):
        assert house.client.get(path).status_code == 200


def test_the_clock_moves_only_in_replay_and_only_forward(open_door: Callable[..., House]) -> None:
    wall = open_door().client.post("/v1/clock", json={"now": "2026-04-01T00:00:00Z"})
    assert (wall.status_code, wall.json()["code"]) == (409, "wall_clock")
    replay = open_door(clock="replay").client
    assert replay.post("/v1/clock", json={"now": "2026-04-01T00:00:00Z"}).json() == {
        "now": "2026-04-01T00:00:00+00:00", "timers": 1, "messages": 0, "sent": 0, "released": 0, "moved": 0,
    }  # fmt: skip
    back = replay.post("/v1/clock", json={"now": "2026-03-01T00:00:00Z"})
    assert (back.status_code, back.json()["field"]) == (422, "now")


def test_the_playbook_and_the_dead_letters_can_be_read(house: House) -> None:
    from opportune.domain.events import DeadLetter

    answer = house.client.get("/v1/playbook").json()
    assert answer["playbook"] == house.parts.playbook.hash
    assert "hello" in answer["spec"]["campaigns"]
    letters = [
        DeadLetter(letter_id=str(i), received_at=NOW, source="http", index=i, message_id=None, code="x",
                   message="y", body=b)
        for i, b in enumerate([b'{"a":1}', b"\xff"])
    ]  # fmt: skip
    with house.ledger.begin() as uow:
        uow.dead_letters.add(letters)
    found = house.client.get("/v1/dead-letters?limit=5").json()["dead_letters"]
    assert {orjson.dumps(d["body"]) for d in found} == {b'{"a":1}', orjson.dumps("\ufffd")}


def test_one_dead_letter_of_any_depth_does_not_hide_the_others(house: House) -> None:
    for depth in (200, 240, 250, 254, 300, 900):
        deep = b"[" * depth + b"]" * depth
        body = b'{"batch":[{"type":"track","event":"e","userId":"u","properties":{"a":' + deep + b"}},7]}"
        assert house.client.post("/v1/batch", content=body).json()["accepted"] == 0
    with house.ledger.begin() as uow:
        uow.dead_letters.add(house.flows.letters)
    answer = house.client.get("/v1/dead-letters?limit=100")
    assert answer.status_code == 200
    assert len(answer.json()["dead_letters"]) == 12
