"""The ingestion paths, with the flow faked."""

import gzip
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from .conftest import House

TRACK = {"userId": "u1", "event": "Product Viewed", "messageId": "m1"}
CALLS: dict[str, dict[str, Any]] = {
    "identify": {"userId": "u1", "traits": {}},
    "track": TRACK,
    "page": {"userId": "u1"},
    "screen": {"userId": "u1"},
    "group": {"userId": "u1", "groupId": "g"},
    "alias": {"userId": "u1", "previousId": "u0"},
    "batch": {"batch": [{"type": "track", **TRACK}]},
}


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize("call", CALLS)
def test_every_call_is_taken_by_its_long_and_short_name_with_and_without_a_slash(
    house: House, call: str, slash: str
) -> None:
    for name in (call, call[0]):
        answer = house.client.post(f"/v1/{name}{slash}", json=CALLS[call], follow_redirects=False)
        assert answer.status_code == 200
        assert answer.json() == {"success": True, "accepted": 1, "rejected": []}
    assert [e.kind.value for e in house.flows.events] == [call if call != "batch" else "track"] * 2


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "nonsense", None])
def test_the_content_type_does_not_matter(house: House, kind: str | None) -> None:
    headers = {"Content-Type": kind} if kind else {}
    assert house.client.post("/v1/track", content=orjson.dumps(TRACK), headers=headers).status_code == 200


def test_gzip_is_honoured_and_a_bomb_costs_only_its_cap(house: House) -> None:
    packed = gzip.compress(orjson.dumps(TRACK))
    assert house.client.post("/v1/track", content=packed, headers={"Content-Encoding": "gzip"}).status_code == 200
    bomb = gzip.compress(b" " * 50_000_000)
    answer = house.client.post("/v1/track", content=bomb, headers={"Content-Encoding": "gzip"})
    assert answer.status_code == 413
    assert {"code", "message"} <= set(answer.json())


def test_one_bad_event_never_fails_a_batch_and_is_kept(house: House) -> None:
    body = {"batch": [{"type": "track", **TRACK}, {"type": "track", "userId": "u"}, 7]}
    answer = house.client.post("/v1/batch", json=body)
    assert answer.status_code == 200
    assert answer.json()["accepted"] == 1
    assert [set(r) for r in answer.json()["rejected"]] == [{"index", "messageId", "code", "message"}] * 2
    assert len(house.flows.events) == 1
    assert len(house.flows.letters) == 2


def test_an_unreadable_body_is_400_with_code_and_message(house: House) -> None:
    for body in (b"", b"{", b"[]", b"\xff\xfe"):
        answer = house.client.post("/v1/track", content=body)
        assert answer.status_code == 400
        assert answer.json()["code"]
        assert answer.json()["message"]


def test_a_failed_write_is_503_with_retry_after(house: House) -> None:
    house.flows.is_down = True
    answer = house.client.post("/v1/track", json=TRACK)
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.headers["access-control-allow-origin"] == "*"


def test_the_write_key_comes_as_basic_as_bearer_or_in_the_body(open_door: Callable[..., House]) -> None:
    house = open_door(api_key="A", write_key="W", decide_key="D")
    post = house.client.post
    assert post("/v1/track", json=TRACK, auth=("W", "")).status_code == 200
    assert post("/v1/track", json=TRACK, headers={"Authorization": "Bearer W"}).status_code == 200
    assert post("/v1/track", json={**TRACK, "writeKey": "W"}).status_code == 200
    assert post("/v1/batch", json={**CALLS["batch"], "writeKey": "W"}).status_code == 200
    assert post("/v1/track", json=TRACK, auth=("A", "")).status_code == 200
    assert post("/v1/track", json=TRACK, auth=("D", "")).status_code == 403
    assert post("/v1/track", json={**TRACK, "writeKey": "x"}).status_code == 401
    assert post("/v1/track", json=TRACK).status_code == 401
    assert post("/v1/track", content=b"{").status_code == 401, "who may not write learns nothing of the body"
    assert len(house.flows.events) == 5


def test_events_faster_than_the_rate_are_429_with_when_to_come_back(open_door: Callable[..., House]) -> None:
    house = open_door(events_per_s=0.001)
    many = {"batch": [{"type": "track", **TRACK, "messageId": str(i)} for i in range(2500)]}
    assert house.client.post("/v1/batch", json=many).status_code == 200
    answer = house.client.post("/v1/track", json=TRACK)
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) >= 1
    assert int(answer.headers["x-ratelimit-reset"]) > 1_700_000_000
    assert {"code", "message"} <= set(answer.json())


def test_browsers_may_post_from_anywhere_but_only_to_the_ingestion_paths(house: House) -> None:
    asked = {"Origin": "https://shop.example", "Access-Control-Request-Method": "POST",
             "Access-Control-Request-Headers": "authorization,anonymousid"}  # fmt: skip
    answer = house.client.options("/v1/t", headers=asked)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["access-control-allow-headers"] == "authorization,anonymousid"
    assert house.client.post("/v1/track", json=TRACK).headers["access-control-allow-origin"] == "*"
    other = house.client.options("/v1/decisions", headers=asked)
    assert other.status_code == 405
    assert "access-control-allow-origin" not in other.headers
    assert "access-control-allow-origin" not in house.client.post("/v1/decisions", json={"customer_id": "c"}).headers


def test_an_empty_batch_is_accepted_and_writes_nothing(house: House) -> None:
    assert house.client.post("/v1/batch", json={"batch": []}).json() == {"success": True, "accepted": 0, "rejected": []}
