"""The Segment protocol: what is read, what is refused, and that nothing ever escapes but BodyUnreadable."""

import json
import math
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opportune.api.problems import Refusal
from opportune.api.wire import KINDS_BY_PATH, BodyUnreadable, Parsed, clean_object, read_call
from opportune.domain.events import Event, EventKind

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
TRACK: dict[str, Any] = {"type": "track", "event": "Product Added", "userId": "c1", "messageId": "m1"}


def read(body: bytes | dict[str, Any], kind: str = "batch", **options: Any) -> Parsed:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    names = count()
    return read_call(kind, raw, NOW, new_id=lambda: f"new{next(names)}", **options)


def one(item: dict[str, Any], kind: str = "track", **options: Any) -> Event:
    parsed = read(item, kind, **options)
    assert not parsed.rejected, parsed.rejected
    return parsed.events[0]


def refused(item: Any, kind: str = "track", **options: Any) -> dict[str, Any]:
    parsed = read(item, kind, **options)
    assert len(parsed.rejected) == len(parsed.letters) == 1
    assert not parsed.events
    orjson.dumps(parsed.rejected)
    return parsed.rejected[0]


@pytest.mark.parametrize("path", sorted(set(KINDS_BY_PATH) - {"batch", "b"}))
def test_each_path_long_and_short_is_its_call(path: str) -> None:
    item = {"userId": "c1", "event": "X", "previousId": "p", "groupId": "g"}
    assert one(item, path).kind.value[0] == path[0]


def test_a_batch_gives_its_context_integrations_and_sent_at_to_each_item() -> None:
    body = {
        "batch": [{**TRACK, "context": {"ip": "own"}, "timestamp": "2026-03-01T11:00:00Z"}],
        "context": {"ip": "shared", "app": "x"},
        "integrations": {"All": True},
        "sentAt": "2026-03-01T11:30:00Z",
    }
    event = read(body).events[0]
    assert event.context == {"ip": "own", "app": "x", "integrations": {"All": True}}
    assert event.event_at == NOW - timedelta(minutes=30)


def test_one_bad_item_never_fails_a_batch() -> None:
    parsed = read(
        {"batch": [TRACK, 7, {**TRACK, "event": None}, {**TRACK, "type": "nope"}, {**TRACK, "messageId": "m2"}]}
    )
    assert [e.message_id for e in parsed.events] == ["m1", "m2"]
    assert [(r["index"], r["code"]) for r in parsed.rejected] == [
        (1, "not_an_object"),
        (2, "event_missing"),
        (3, "type_unknown"),
    ]
    assert [x.index for x in parsed.letters] == [1, 2, 3]
    assert parsed.n_items == 5


def test_traits_of_an_identify_are_found_where_rudderstack_puts_them() -> None:
    inside = {"userId": "c", "context": {"traits": {"email": "in@example.com"}}}
    assert one(inside, "identify").traits == {"email": "in@example.com"}
    assert one({**inside, "traits": {"email": "own@example.com"}}, "identify").traits == {"email": "own@example.com"}
    assert one({**inside, "event": "X"}, "track").traits == {}
    assert refused({"userId": "c", "context": {"traits": 7}}, "identify")["code"] == "wrong_type"


def test_a_raw_control_character_refuses_its_own_item_at_most() -> None:
    bad = b'{"type":"track","event":"X","userId":"c","messageId":"bad","properties":{"a":"x\x00y"}}'
    odd = b'{"type":"track","event":"X","userId":"c","messageId":"odd","properties":{"a":"two\nlines\tand a tab"}}'
    parsed = read(b'{"batch":[' + bad + b"," + odd + b"]}")
    assert [e.message_id for e in parsed.events] == ["odd"]
    assert parsed.events[0].properties == {"a": "two\nlines\tand a tab"}
    assert [r["code"] for r in parsed.rejected] == ["text_invalid"]


def test_a_missing_message_id_is_assigned() -> None:
    assert one({"event": "X", "userId": "c", "messageId": None}).message_id == "new0"


def test_anonymous_id_null_is_fine_and_numbers_become_text() -> None:
    event = one({"event": "X", "userId": 42, "anonymousId": None})
    assert (event.user_id, event.anonymous_id, event.id_key) == ("42", None, "u:42")


def test_the_write_key_is_taken_from_the_body_and_kept_nowhere() -> None:
    parsed = read({"writeKey": "k1", "event": "", "userId": "c"}, "track")
    assert parsed.write_key == "k1"
    assert b"k1" not in parsed.letters[0].body
    assert read({"writeKey": "k1", **TRACK}, "track", write_key_in_body=False).write_key is None


@pytest.mark.parametrize(
    ("change", "code", "field"),
    [
        ({"userId": None}, "id_missing", "userId"),
        ({"userId": ""}, "id_missing", "userId"),
        ({"userId": True}, "wrong_type", "userId"),
        ({"userId": {"a": 1}}, "wrong_type", "userId"),
        ({"userId": "x" * 256}, "id_too_long", "userId"),
        ({"userId": "anon:x"}, "id_reserved", "userId"),
        ({"anonymousId": [1]}, "wrong_type", "anonymousId"),
        ({"messageId": "m" * 101}, "id_too_long", "messageId"),
        ({"messageId": 1.5}, "wrong_type", "messageId"),
        ({"event": 7}, "wrong_type", "event"),
        ({"event": "x" * 256}, "name_too_long", "event"),
        ({"properties": []}, "wrong_type", "properties"),
        ({"traits": "x"}, "wrong_type", "traits"),
        ({"context": 1}, "wrong_type", "context"),
        ({"timestamp": "yesterday"}, "timestamp_invalid", "timestamp"),
        ({"timestamp": True}, "timestamp_invalid", "timestamp"),
        ({"timestamp": math.nan}, "number_out_of_range", "timestamp"),
        ({"timestamp": 10**18}, "timestamp_invalid", "timestamp"),
        ({"timestamp": "1969-12-31T23:59:59Z"}, "before_1970", "timestamp"),
        ({"timestamp": "2020-01-01T00:00:00Z"}, "beyond_retention", "timestamp"),
        ({"properties": {"a": "x\x00y"}}, "text_invalid", "properties.a"),
        ({"properties": {"a\x00": 1}}, "text_invalid", "properties"),
        ({"properties": {"a": ["\ud800"]}}, "text_invalid", "properties.a[0]"),
        ({"userId": "\udfff"}, "text_invalid", "userId"),
        ({"properties": {"a": math.nan}}, "number_out_of_range", "properties.a"),
        ({"properties": {"a": math.inf}}, "number_out_of_range", "properties.a"),
        ({"properties": {"a": 2**70}}, "number_out_of_range", "properties.a"),
        ({"properties": {"a": -(2**64)}}, "number_out_of_range", "properties.a"),
        ({"properties": {"a": -(2**63) - 1}}, "number_out_of_range", "properties.a"),
        ({"properties": {"a": "x" * 33_000}}, "event_too_large", "event"),
    ],
)
def test_what_cannot_be_kept_is_refused_by_code_and_field(change: dict[str, Any], code: str, field: str) -> None:
    found = refused({**TRACK, **change})
    assert found["code"] == code
    assert field in found["message"]


@pytest.mark.parametrize(
    "raw", [b"1e999", b"-1e999", b"NaN", b"1" * 6000, b'"\\ud800"', b'"\xff"', b'"\\u0000"', b"1e300"]
)
@pytest.mark.parametrize("place", [b'"properties":{"a":%s}', b'"junk":%s', b'"traits":{"deep":[{"a":%s}]}'])
def test_poison_anywhere_refuses_its_own_item_only(raw: bytes, place: bytes) -> None:
    bad = b'{"type":"track","event":"X","userId":"c","messageId":"bad",' + place.replace(b"%s", raw) + b"}"
    parsed = read(b'{"batch":[' + bad + b"," + json.dumps(TRACK).encode() + b"]}")
    assert [e.message_id for e in parsed.events] == ["m1"]
    assert [(r["index"], r["messageId"]) for r in parsed.rejected] == [(0, "bad")]
    assert parsed.rejected[0]["code"] in ("number_out_of_range", "text_invalid")


@pytest.mark.parametrize("depth", [199, 200, 201, 260, 900, 1000, 1019, 5000, 15_000])
@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_nesting_beyond_200_levels_refuses_its_own_item_only(depth: int, opening: bytes, closing: bytes) -> None:
    # the item itself and its properties are two levels
    n = depth - 2
    inner = b"1"
    if len(opening) * n > 200_000:
        pytest.skip("over the size of a test")
    bad = b'{"type":"track","event":"X","userId":"c","messageId":"deep","properties":{"a":%s}}' % (
        opening * n + inner + closing * n
    )
    parsed = read(b'{"batch":[' + bad + b"," + json.dumps(TRACK).encode() + b"]}")
    accepted = [e.message_id for e in parsed.events]
    if depth <= 200:
        assert accepted == ["deep", "m1"]
    else:
        assert accepted == ["m1"]
        assert parsed.rejected[0]["code"] in ("nesting_too_deep", "event_too_large")


@pytest.mark.parametrize(
    ("body", "kind", "code", "status"),
    [
        (b"", "track", "body_not_json", 400),
        (b"{", "track", "body_not_json", 400),
        (b"[" * 100_000, "track", "body_not_json", 400),
        (b"[]", "track", "not_an_object", 400),
        (b"7", "batch", "not_an_object", 400),
        (b"{}", "batch", "batch_missing", 400),
        (b'{"batch":{}}', "batch", "batch_missing", 400),
        (b'{"batch":[' + b",".join([b"{}"] * 2501) + b"]}", "batch", "batch_too_large", 413),
        (b"{}", "nope", "path_unknown", 400),
    ],
)
def test_an_unreadable_body_says_why(body: bytes, kind: str, code: str, status: int) -> None:
    with pytest.raises(BodyUnreadable) as caught:
        read(body, kind)
    assert (caught.value.code, caught.value.status) == (code, status)


def test_the_largest_batch_is_taken_whole() -> None:
    items = [{**TRACK, "messageId": f"m{i}"} for i in range(2500)]
    assert len(read({"batch": items}).events) == 2500


@pytest.mark.parametrize(
    ("text", "expected", "flags"),
    [
        ("2026-03-01T11:00:00.123Z", NOW - timedelta(minutes=59, seconds=59, milliseconds=877), ()),
        ("2026-03-01T11:00:00.123456789Z", NOW - timedelta(minutes=59, seconds=59, microseconds=876544), ()),
        ("2026-03-01T12:00:00+01:00", NOW - timedelta(hours=1), ()),
        ("2026-03-01t11:00:00z", NOW - timedelta(hours=1), ()),
        ("2026-03-01T11:00:00", NOW - timedelta(hours=1), ("no_zone",)),
        ("2026-03-01", NOW - timedelta(hours=12), ("no_zone",)),
        (1772362800, NOW - timedelta(hours=1), ()),
        (1772362800000, NOW - timedelta(hours=1), ()),
        (1772362800.5, NOW - timedelta(minutes=59, seconds=59, microseconds=500000), ()),
        ("2026-03-01T12:04:00Z", NOW, ()),
        ("2026-03-01T12:06:00Z", NOW, ("future",)),
        ("9999-12-31T23:59:59Z", NOW, ("future",)),
    ],
)
def test_times_are_read_in_every_common_form_and_never_later_than_received(
    text: object, expected: datetime, flags: tuple[str, ...]
) -> None:
    event = one({**TRACK, "timestamp": text})
    assert event.event_at == expected
    assert event.flags == flags
    assert event.received_at == event.known_at == event.ingested_at == NOW


def test_a_wrong_clock_is_corrected_by_sent_at() -> None:
    event = one({**TRACK, "timestamp": "1971-01-01T00:00:00Z", "sentAt": "1971-01-01T00:10:00Z"})
    assert event.event_at == NOW - timedelta(minutes=10)
    assert event.original_at == datetime(1971, 1, 1, tzinfo=UTC)
    assert event.sent_at == datetime(1971, 1, 1, 0, 10, tzinfo=UTC)


def test_without_a_timestamp_it_happened_when_it_came() -> None:
    event = one({**TRACK, "sentAt": "2026-03-01T10:00:00Z"})
    assert (event.original_at, event.event_at) == (None, NOW)


def test_original_timestamp_is_read_when_there_is_no_timestamp() -> None:
    assert one({**TRACK, "originalTimestamp": "2026-03-01T11:00:00Z"}).event_at == NOW - timedelta(hours=1)


@pytest.mark.parametrize("sent", ["soon", [], "0001-01-01T00:00:00Z"])
def test_a_sent_at_that_cannot_be_used_costs_only_the_correction(sent: object) -> None:
    event = one({**TRACK, "timestamp": "2026-03-01T11:00:00Z", "sentAt": sent})
    assert event.event_at <= NOW


def test_page_and_screen_keep_their_name_and_category_as_properties() -> None:
    event = one({"userId": "c", "name": "Home", "category": "Shop", "properties": {"name": "own"}}, "page")
    assert event.name == "Page Viewed"
    assert event.properties == {"name": "own", "category": "Shop"}


def test_alias_and_group_need_their_ids() -> None:
    assert refused({"userId": "c"}, "alias")["code"] == "id_missing"
    assert refused({"anonymousId": "a", "previousId": "p"}, "alias")["code"] == "id_missing"
    assert refused({"userId": "c"}, "group")["code"] == "id_missing"
    assert one({"userId": "c", "previousId": "p"}, "alias").previous_id == "p"
    assert one({"userId": "c", "groupId": 7, "traits": {"n": 1}}, "group").group_id == "7"


def test_a_callers_object_is_cleaned_like_an_event() -> None:
    assert clean_object({"cart_value": 80}, "context") == {"cart_value": 80}
    with pytest.raises(Refusal) as caught:
        clean_object({"a": {"b": "\x00"}}, "context")
    assert caught.value.status == 422
    assert "context.a.b" in caught.value.message


LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(st.characters(), max_size=5), st.just("\ud800")
)
TREES = st.recursive(LEAVES, lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(max_size=4), x, max_size=3))
FIELDS = st.sampled_from(
    ["type", "event", "userId", "anonymousId", "messageId", "timestamp", "sentAt", "properties", "traits", "context",
     "previousId", "groupId", "integrations", "originalTimestamp", "name"]
)  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(
    st.dictionaries(FIELDS, TREES), st.sampled_from([kind.value for kind in EventKind]), st.dictionaries(FIELDS, TREES)
)
def test_whatever_is_sent_is_either_an_event_every_database_keeps_or_a_dead_letter(
    item: dict[str, Any], kind: str, top: dict[str, Any]
) -> None:
    for body, path in (({**TRACK, **item}, kind), ({"batch": [item, {**TRACK, **item}], **top}, "batch")):
        parsed = read_call(path, json.dumps(body).encode(), NOW)
        assert len(parsed.events) + len(parsed.letters) == parsed.n_items
        orjson.dumps(parsed.rejected)
        for event in parsed.events:
            stored = orjson.dumps([event.properties, event.traits, event.context, event.user_id, event.anonymous_id])
            assert b"\\u0000" not in stored
            assert event.event_at <= NOW


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_unreadable(body: bytes) -> None:
    for kind in ("track", "batch"):
        with suppress(BodyUnreadable):
            read_call(kind, body, NOW)
