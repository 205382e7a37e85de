"""Bodies that a careless or hostile sender may post: a fixed corpus, the same bytes for every server."""

import gzip
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

GOOD = {"type": "track", "event": "Product Added", "userId": "hostile", "messageId": "good"}
_GOOD = json.dumps(GOOD).encode()


@dataclass(frozen=True, slots=True)
class Hostile:
    """One request. `chunks` null: one body with its length; else sent in chunks of that many bytes."""

    name: str
    body: bytes
    path: str = "/v1/batch"
    headers: tuple[tuple[str, str], ...] = field(default=())
    chunks: int | None = None
    length: str | None = None  # a Content-Length that lies


def corpus() -> list[Hostile]:
    """All of them, names unique."""
    found = [*values(), *fields(), *shapes(), *texts(), *packed(), *wires(), *paths()]
    names = [h.name for h in found]
    assert len(set(names)) == len(names), sorted({n for n in names if names.count(n) > 1})
    return found


def event(raw: bytes, place: bytes = b'"properties":{"a":%s}') -> bytes:
    """A track event with raw JSON somewhere inside, as bytes, because no encoder would write it."""
    return b'{"type":"track","event":"X","userId":"hostile","messageId":"bad",' + place.replace(b"%s", raw) + b"}"


def batch(*items: bytes) -> bytes:
    """Raw items in a batch, a good one behind them."""
    return b'{"batch":[' + b",".join([*items, _GOOD]) + b"]}"


_RAW = {
    "nul escaped": b'"a\\u0000b"',
    "nul raw": b'"a\x00b"',
    "nul alone": b'"\\u0000"',
    "high surrogate": b'"\\ud800"',
    "low surrogate": b'"x\\udfff"',
    "swapped surrogates": b'"\\udc00\\ud800"',
    "surrogate as utf-8": b'"\xed\xa0\x80"',
    "stray continuation byte": b'"\x80"',
    "truncated utf-8": b'"\xe2\x82"',
    "overlong slash": b'"\xc0\xaf"',
    "beyond unicode": b'"\xf4\x90\x80\x80"',
    "latin-1": b'"caf\xe9"',
    "nan": b"NaN",
    "infinity": b"Infinity",
    "minus infinity": b"-Infinity",
    "1e999": b"1e999",
    "-1e999": b"-1e999",
    "1e308": b"1e308",
    "5e-324": b"5e-324",
    "1e-999": b"1e-999",
    "minus zero": b"-0.0",
    "2^63 - 1": b"9223372036854775807",
    "2^63": b"9223372036854775808",
    "-2^63": b"-9223372036854775808",
    "-2^63 - 1": b"-9223372036854775809",
    "2^64": b"18446744073709551616",
    "2^70": b"1180591620717411303424",
    "300 digits": b"9" * 300,
    "5000 digits": b"9" * 5000,
    "20000 digits": b"1" * 20_000,
    "many decimals": b"0." + b"3" * 5000,
    "controls": b'"\\u0001\\u001f\\u007f\\u0085"',
    "bidirectional": '"\u202eevil\u202c"'.encode(),
    "noncharacters": '"\uffff\ufffe"'.encode(),
    "emoji and accents": '"\U0001f9d1\u200d\U0001f680 e\u0301\u0301\u0301"'.encode(),
    "list of nothing": b"[[],{},null,[],[null]]",
    "empty name": b'{"": 1}',
    "name with nul": b'{"a\\u0000": 1}',
    "name with surrogate": b'{"\\ud800": 1}',
    "name with dots and quotes": b'{"a.b[0]\'\\"; DROP TABLE events; --": 1}',
    "same name twice": b'{"a": 1, "a": 2}',
    "same name, one poisoned": b'{"a": NaN, "a": 2}',
    "proto": b'{"__proto__": {"x": 1}, "constructor": 1}',
    "sql": b'"\'); DROP TABLE events; --"',
    "liquid": b'"{{ 7 | times: 7 }}{% for i in (1..1000000000) %}x{% endfor %}"',
    "percent": b'"%s %(a)s %% :name $1 ?"',
}
_PLACES = {
    "properties": b'"properties":{"a":%s}',
    "traits": b'"traits":{"deep":[{"a":%s}]}',
    "context": b'"context":{"timezone":%s}',
}


def values() -> Iterator[Hostile]:
    """Values no database keeps, and some that look as if: in properties, traits and context, beside a good event."""
    for what, raw in _RAW.items():
        for place, where in _PLACES.items():
            yield Hostile(f"{what} in {place}", batch(event(raw, where)))


def fields() -> Iterator[Hostile]:
    """Wrong types and sizes of every field with a meaning."""
    wrong: dict[str, list[object]] = {
        "userId": [True, 1.5, [], {}, "", " ", "x" * 256, "x" * 255, "null", "anon:x", 2**62, -1, "a\x00", "é" * 255],
        "anonymousId": [False, 1.5, ["a"], {"a": 1}, "", "x" * 300],
        "messageId": [True, 0, -5, 1.5, [], {}, "", "x" * 100, "x" * 101, "\u0000", "ü" * 100],
        "type": [None, 1, [], {}, "TRACK", "track ", "batch", "import", ""],
        "event": [None, 1, [], {}, "", "x" * 255, "x" * 256, "\ud800"],
        "properties": [1, "x", [], True, [[1]]],
        "traits": [1, "x", [1], False],
        "context": [1, "x", [1], {"timezone": 7}, {"timezone": "Mars/Base"}, {"timezone": "../../etc/passwd"},
                    {"traits": 7}, {"integrations": 7}],
        "integrations": [1, "x", [1], {"All": False}],
        "timestamp": [True, "", "yesterday", [], {}, 0, -1, 1e18, 10**18, "9999-12-31T23:59:59Z",
                      "0001-01-01T00:00:00Z", "2026-02-30T00:00:00Z", "2026-01-01T25:00:00Z", "1969-12-31T23:59:59Z",
                      "2026-01-01T00:00:00+99:99",
                      "2026-W01-1", "20260101", "2026-01-01T00:00:00.000000000000Z", "10000-01-01", "\u0662026-01-01"],
        "sentAt": [True, "soon", [], {}, 1e300, "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"],
        "originalTimestamp": ["x", 1e300, {}],
    }  # fmt: skip
    for name, options in wrong.items():
        for i, value in enumerate(options):
            item = json.dumps({**GOOD, "messageId": "bad", name: value}).encode()
            yield Hostile(f"{name} {i}: {str(value)[:24]!r}", batch(item))
    for name in ("context", "integrations", "sentAt", "writeKey"):
        for i, value in enumerate([7, "x", [], {"a": None}, True]):
            yield Hostile(f"shared {name} {i}", json.dumps({"batch": [GOOD], name: value}).encode())
    for kind, needed in (("alias", "previousId"), ("group", "groupId")):
        for i, value in enumerate([None, 7, [], "x" * 256, "\ud800", True]):
            item = {"type": kind, "userId": "hostile", "messageId": f"{kind}{i}", needed: value}
            yield Hostile(f"{kind} with {needed} {i}", json.dumps({"batch": [item]}).encode())
    yield Hostile(
        "alias onto itself", json.dumps({"batch": [{"type": "alias", "userId": "me", "previousId": "me"}]}).encode()
    )
    poison = [{"type": "identify", "userId": u, "anonymousId": "shared"} for u in ("null", "0", "-1", "anonymous", "x")]
    yield Hostile("ids that never link", json.dumps({"batch": poison}).encode())


def shapes() -> Iterator[Hostile]:
    """Bodies and batches of the wrong shape or size."""
    wrong = [
        b"", b" ", b"null", b"true", b"7", b'"text"', b"[]", b"[[]]", b"{}", b"{", b"}", b'{"batch"}', b'{"batch":}',
        b'{"batch":[}', b'{"batch":[,]}', b'{"batch":[1,]}', b"{'batch':[]}", b"{}{}", b'{"batch":null}',
        b'{"batch":{}}', b'{"batch":"x"}', b'{"batch":7}', b'{"batch":[]}', b'{"batch":[[]]}',
        b'{"batch":[null,1,"x",true,[],{}]}',
        b"\xef\xbb\xbf{}", b"\xff\xfe{\x00}\x00", b"undefined", b"NaN", b"<xml/>", b"batch=%5B%5D", b"\x00",
        b"\x00" * 1000,
    ]  # fmt: skip
    for i, raw in enumerate(wrong):
        yield Hostile(f"shape {i}: {raw[:20]!r}", raw)
    yield Hostile("bom before a good batch", b"\xef\xbb\xbf" + batch())
    yield Hostile("utf-16", batch().decode().encode("utf-16"))
    yield Hostile("utf-32", batch().decode().encode("utf-32"))
    yield Hostile("batch twice", b'{"batch":[1],"batch":[' + _GOOD + b"]}")
    yield Hostile("comment", b'{"batch":[' + _GOOD + b"]} // end")
    yield Hostile("2500 times the same", batch(*[_GOOD] * 2499))
    yield Hostile("2501 events", batch(*[b"{}"] * 2500))
    yield Hostile("2500 bad ones", b'{"batch":[' + b",".join([b"{}"] * 2500) + b"]}")
    yield Hostile("event of 32 KB and more", batch(event(b'"' + b"x" * 33_000 + b'"')))
    yield Hostile("event of just 32 KB", batch(event(b'"' + b"x" * (32_768 - 110) + b'"')))
    yield Hostile("body over 4 MB", b'{"batch":[' + b" " * (4 << 20) + b"]}")
    yield Hostile("four million spaces", b" " * 4_000_000)
    yield Hostile("10000 fields", batch(event(b"{" + b",".join(b'"f%d":1' % i for i in range(3000)) + b"}")))
    for opening, closing in ((b"[", b"]"), (b'{"a":', b"}")):
        for depth in (198, 199, 250, 1000, 5000):
            deep = opening * depth + b"1" + closing * depth
            yield Hostile(f"{depth} levels of {opening.decode()}", batch(event(deep)))
        for depth in (100_000, 600_000):
            yield Hostile(f"{depth} open {opening.decode()}", opening * depth)
    deep = b"[" * 900_000 + b"]" * 900_000
    yield Hostile("900000 levels beside a good one", batch(event(deep)))


def texts() -> Iterator[Hostile]:
    """Names and events in all the alphabets there are, none of which is wrong, and some that are."""
    for i, text in enumerate(
        ["\u0430dmin", "ﬁ", "İ", "ß", "𝔘𝔫𝔦", "\u200b", "\u00a0", "\n", "\t", "\\", "/", "..", "%00", "'"]
    ):
        item = {**GOOD, "messageId": f"text{i}", "userId": f"t{text}", "event": f"E{text}"}
        yield Hostile(f"text {i}", json.dumps({"batch": [item]}, ensure_ascii=False).encode())


def bomb(megabytes: int = 300) -> bytes:
    """So many megabytes of zeros as gzip."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    piece = bytes(1 << 20)
    return b"".join([*(packer.compress(piece) for _ in range(megabytes)), packer.flush()])


def packed() -> Iterator[Hostile]:
    """gzip: whole, cut, damaged, nested, lying, exploding."""
    whole = gzip.compress(batch(), mtime=0)
    encoded = (("Content-Encoding", "gzip"),)
    yield Hostile("gzip", whole, headers=encoded)
    yield Hostile("gzip without the header", whole)
    yield Hostile("header without gzip", batch(), headers=encoded)
    for cut in (1, 2, 3, 9, 10, 11, len(whole) // 2, len(whole) - 8, len(whole) - 4, len(whole) - 1):
        yield Hostile(f"gzip cut at {cut}", whole[:cut], headers=encoded)
    for at in (3, 12, len(whole) // 2, len(whole) - 6, len(whole) - 2):
        broken = bytearray(whole)
        broken[at] ^= 0xFF
        yield Hostile(f"gzip with byte {at} flipped", bytes(broken), headers=encoded)
    yield Hostile("gzip in gzip", gzip.compress(whole, mtime=0), headers=encoded)
    yield Hostile("gzip with a tail", whole + b"tail", headers=encoded)
    yield Hostile("gzip with zeros behind", whole + bytes(512), headers=encoded)
    yield Hostile(
        "two gzip members", gzip.compress(batch()[:9], mtime=0) + gzip.compress(batch()[9:], mtime=0), headers=encoded
    )
    yield Hostile("empty gzip", gzip.compress(b"", mtime=0), headers=encoded)
    yield Hostile("5000 empty members", gzip.compress(b"", mtime=0) * 5000 + whole, headers=encoded)
    yield Hostile("zlib", zlib.compress(batch()), headers=encoded)
    yield Hostile("bomb of 20 MB", bomb(20), headers=encoded)
    yield Hostile("bomb in chunks", bomb(20), headers=encoded, chunks=1000)
    yield Hostile("bomb in a bomb", gzip.compress(bomb(20), mtime=0), headers=encoded)
    for name in ("br", "deflate", "zstd", "gzip, gzip", "GZIP", " gzip ", "identity", "x-gzip", "", "\xe9", "g" * 5000):
        yield Hostile(f"encoding {name[:12]!r}", whole, headers=(("Content-Encoding", name),))


def wires() -> Iterator[Hostile]:
    """Headers and transfers."""
    kinds = ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "image/png", "",
             "application/json; charset=utf-7", "application/json; charset=\xff", "a" * 4000)  # fmt: skip
    for kind in kinds:
        yield Hostile(f"content type {kind[:36]!r}", batch(), headers=(("Content-Type", kind),))
    for size in (1, 7, 1000):
        yield Hostile(f"chunks of {size}", batch(), chunks=size)
        yield Hostile(
            f"gzip in chunks of {size}",
            gzip.compress(batch(), mtime=0),
            chunks=size,
            headers=(("Content-Encoding", "gzip"),),
        )
    keys = ("Basic", "Basic ", "Basic !!!", "Basic /////w==", "Basic Og==", "Bearer", "Bearer \xff", "x",
            "Digest username=a", "Basic " + "QQ==" * 1000)  # fmt: skip
    for i, value in enumerate(keys):
        yield Hostile(f"authorization {i}", batch(), headers=(("Authorization", value),))
    yield Hostile("200 headers", batch(), headers=tuple((f"X-{i}", "v" * 50) for i in range(200)))
    yield Hostile("a header of 30 KB", batch(), headers=(("X-Long", "v" * 30_000),))
    yield Hostile("the same header often", batch(), headers=(("Content-Type", "a"),) * 20)
    yield Hostile("expect", batch(), headers=(("Expect", "100-continue"),))
    yield Hostile("upgrade", batch(), headers=(("Upgrade", "websocket"), ("Connection", "Upgrade")))
    yield Hostile("override", batch(), headers=(("X-HTTP-Method-Override", "DELETE"),))
    yield Hostile("forwarded", batch(), headers=(("X-Forwarded-For", "' OR 1=1"), ("Forwarded", "for=\xff")))
    yield Hostile("an idempotency key", batch(), headers=(("Idempotency-Key", "\xff" * 300),))
    yield Hostile("length too small", batch(), length=str(len(batch()) - 5))
    for length in ("-1", "abc", "1e3", "99999999999999999999999999"):
        yield Hostile(f"length {length}", batch(), length=length)


def paths() -> Iterator[Hostile]:
    """Every call gets the same awkward items."""
    for path in ("identify", "track", "page", "screen", "group", "alias", "i", "t", "p", "s", "g", "a", "b", "batch/"):
        for name, raw in (
            ("nothing", b"{}"),
            ("null ids", b'{"userId":null,"anonymousId":null}'),
            ("nan", b'{"userId":NaN}'),
        ):
            yield Hostile(f"{path}: {name}", raw, path=f"/v1/{path}")
    odd = ("/v1/track?", "/v1/track?a=%00", "/v1/track?writeKey=%ff", "/v1/tr%61ck", "/v1/track%00", "/v1/%ff",
           "/v1/../v1/track", "//v1/track", "/v1//track", "/v1/TRACK", "/v1/track/../../etc", "/v1/" + "x" * 8000,
           "/v1/track#x", "/v1/import")  # fmt: skip
    for path in odd:
        yield Hostile(f"path {path[:24]!r}", _GOOD, path=path)
