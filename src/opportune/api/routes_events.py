"""Events in: the Segment HTTP Tracking API. 200 means durable; one bad event never fails a batch."""

import asyncio
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import orjson
from starlette.requests import Request
from starlette.responses import Response

from opportune.api import models
from opportune.api.batcher import Batcher
from opportune.api.body import MAX_BODY_BYTES, BodyUnreadable, read_body
from opportune.api.endpoint import Answering, Endpoint, refusal_of
from opportune.api.keys import Keys, Scope, key_of
from opportune.api.metrics import Metrics
from opportune.api.parts import Parts
from opportune.api.problems import Refusal, problem_response
from opportune.api.rate import TokenBucket
from opportune.api.wire import KINDS_BY_PATH, Parsed, read_call
from opportune.domain.events import DeadLetter, Event

#: One commit holds at most this many events; so many may wait before we say 503.
MAX_EVENTS, MAX_EVENTS_WAITING = 2500, 50_000
#: Larger bodies are read in a thread, so that the loop goes on answering others.
_READ_ASIDE = 64 * 1024
_ANYONE = {"Access-Control-Allow-Origin": "*"}

_ID = {"userId": "c42"}
EXAMPLES = {
    "track": {
        **_ID,
        "event": "Product Added",
        "messageId": "m-1",
        "properties": {"cart_id": "k1", "product_id": "p7", "price": 19.9, "quantity": 1},
    },
    "identify": {
        **_ID,
        "anonymousId": "a-1",
        "messageId": "m-2",
        "traits": {"email": "c42@example.com", "timezone": "Europe/London"},
    },
    "page": {**_ID, "messageId": "m-3", "properties": {"url": "https://shop.example/p7"}},
    "screen": {**_ID, "messageId": "m-4", "name": "Home"},
    "group": {**_ID, "messageId": "m-5", "groupId": "acme"},
    "alias": {**_ID, "messageId": "m-6", "previousId": "c41"},
    "batch": {
        "batch": [
            {"type": "track", **_ID, "event": "Product Viewed", "messageId": "m-7", "properties": {"product_id": "p7"}}
        ]
    },
}


@dataclass(frozen=True, slots=True)
class Parcel:
    """What one request wants written."""

    events: Sequence[Event]
    letters: Sequence[DeadLetter]


class EventRoutes:
    """POST /v1/{identify,track,page,screen,group,alias,batch} and /v1/{i,t,p,s,g,a,b}, a slash at the end or none."""

    def __init__(self, parts: Parts, keys: Keys, metrics: Metrics) -> None:
        self.parts, self.keys, self.metrics = parts, keys, metrics
        self.bucket = TokenBucket(parts.settings.events_per_s)
        self.batcher: Batcher[Parcel, None] = Batcher(
            "ingest",
            self.write,
            max_weight=MAX_EVENTS,
            max_waiting=MAX_EVENTS_WAITING,
            on_batch=metrics.batches("ingest", lambda: self.batcher.waiting),
        )

    def write(self, parcels: Sequence[Parcel]) -> list[None]:
        """Write several requests' events in one call of the flow, in the order they came."""
        events = [event for parcel in parcels for event in parcel.events]
        letters = [letter for parcel in parcels for letter in parcel.letters]
        self.parts.flows.ingest(events, letters, self.parts.ledger, self.parts.playbook, self.parts.clock)
        return [None] * len(parcels)

    async def touch(self) -> None:
        """An empty parcel goes the way of all events: it is back when the worker thread has written those before it."""
        await self.batcher.submit(Parcel((), ()), 1)

    async def call(self, path_kind: str, request: Request) -> Response:
        """One ingestion call. Any page may read the answer, errors too."""
        try:
            response = await self.take(path_kind, request)
        except Exception as problem:  # noqa: BLE001 - the answer needs its CORS header, whatever it is
            response = problem_response(refusal_of(problem))
        response.headers.update(_ANYONE)
        return response

    async def take(self, path_kind: str, request: Request) -> Response:
        """Read, check the key and the rate, write, answer."""
        header_key = key_of(request.headers.get("authorization"))
        try:
            body = await read_body(request.stream(), request.headers.get("content-encoding"), MAX_BODY_BYTES)
            read = partial(read_call, path_kind, body, self.parts.clock.now())
            parsed = read() if len(body) < _READ_ASIDE else await asyncio.to_thread(read)
        except BodyUnreadable as unreadable:
            self.keys.require(Scope.WRITE, header_key)  # who may not write learns nothing of the body
            raise Refusal(unreadable.status, unreadable.code, str(unreadable)) from None
        self.keys.require(Scope.WRITE, header_key, parsed.write_key)
        self.pace(parsed.n_items)
        if parsed.events or parsed.letters:
            await self.batcher.submit(Parcel(parsed.events, parsed.letters), max(1, parsed.n_items))
        self.metrics.events(len(parsed.events), len(parsed.rejected))
        return accepted(parsed)

    def pace(self, n_events: int) -> None:
        """Raises Refusal 429 when events come faster than the setting allows."""
        wait_s = self.bucket.take(n_events)
        if wait_s > 0:
            after = max(1, math.ceil(wait_s))
            headers = {"Retry-After": str(after), "X-RateLimit-Reset": str(int(time.time()) + after)}
            raise Refusal(
                429, "too_fast", f"more events a second than allowed; try again in {after} s", headers=headers
            )

    async def preflight(self, request: Request) -> Response:
        """OPTIONS: any page may post here; the key decides."""
        asked = request.headers.get("access-control-request-headers", "")
        plain = "".join(c for c in asked if c.isascii() and (c.isalnum() or c in "-_, "))[:1000]
        headers = {
            **_ANYONE,
            "Access-Control-Allow-Methods": "POST, OPTIONS",
            "Access-Control-Allow-Headers": plain or "authorization, content-type, content-encoding",
            "Access-Control-Max-Age": "86400",
        }
        return Response(b"", 200, headers)

    def endpoints(self) -> list[Endpoint]:
        """Every spelling of every call; the seven long ones are documented."""
        found: list[Endpoint] = []
        for path_kind, kind in KINDS_BY_PATH.items():
            long = kind.value if kind else "batch"
            answer: Answering = partial(self.call, path_kind)
            for path in (f"/v1/{path_kind}", f"/v1/{path_kind}/"):
                found.append(
                    Endpoint(
                        method="POST",
                        path=path,
                        answer=answer,
                        scope=None,
                        tag="events",
                        summary=f"Segment `{long}`",
                        description="Key: Basic `writeKey:`, Bearer, or `writeKey` in the body. gzip is honoured, "
                        "Content-Type ignored. Up to 32 KB an event, 2,500 events and 4 MB a batch.",
                        response=models.EventsOut,
                        errors=(400, 401, 403, 413, 429, 503),
                        is_hot=True,
                        known_as=f"/v1/{long}",
                        body_schema={"type": "object"},
                        examples={long: EXAMPLES[long]},
                        in_schema=path == f"/v1/{long}",
                    )
                )
                found.append(
                    Endpoint(
                        method="OPTIONS",
                        path=path,
                        answer=self.preflight,
                        scope=None,
                        tag="events",
                        summary="CORS",
                        errors=(),
                        in_schema=False,
                        known_as=f"/v1/{long}",
                    )
                )
        return found


def accepted(parsed: Parsed) -> Response:
    """200 after the durable write: how many, and which items were refused and why."""
    body = {"success": True, "accepted": len(parsed.events), "rejected": parsed.rejected}
    return Response(orjson.dumps(body), 200, None, "application/json")
