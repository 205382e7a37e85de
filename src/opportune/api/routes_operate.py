"""Probes, metrics, the active playbook, dead letters and the replay clock."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

import orjson
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import Response

from opportune.api import models
from opportune.api.asks import read_instant, unknown_fields
from opportune.api.endpoint import SMALL, Endpoint, body_of, json_response, parse_object
from opportune.api.keys import Scope
from opportune.api.metrics import Metrics
from opportune.api.parts import Parts
from opportune.api.problems import Refusal, bad
from opportune.api.routes_customers import MAX_LISTED, read_limit
from opportune.domain.events import DeadLetter
from opportune.domain.instants import format_instant
from opportune.flows.freshness import Freshness, freshness
from opportune.flows.health import Health, health
from opportune.ports import Unavailable

log = logging.getLogger("opportune.api")

READY_WITHIN_S = 3.0
CLOCK_DESCRIPTION = (
    "Only with OPPORTUNE_CLOCK=replay. Answers when all that was due by then has happened, in order: timers fired and "
    "messages handed over at their own instants. One jump decides as many steps do."
)
#: How long /metrics repeats what it read of the ledger.
FRESH_FOR_S = 10.0


class OperateRoutes:
    """What operators and marketers look at. `is_serving`: the workers take jobs and no shutdown has begun."""

    def __init__(self, parts: Parts, metrics: Metrics, is_serving: Callable[[], bool]) -> None:
        self.parts, self.metrics, self.is_serving = parts, metrics, is_serving
        self._fresh_until = 0.0

    async def livez(self, request: Request) -> Response:
        """GET /livez: the process answers."""
        return json_response({"status": "alive"})

    async def readyz(self, request: Request) -> Response:
        """GET /readyz: the ledger can be read and the workers take jobs."""
        if not self.is_serving():
            raise Refusal(503, "not_serving", "the server is starting or stopping", headers={"Retry-After": "1"})
        try:
            await asyncio.wait_for(asyncio.to_thread(self._touch), READY_WITHIN_S)
        except (TimeoutError, Unavailable) as problem:
            message = str(problem) or f"the ledger did not answer within {READY_WITHIN_S:g} s"
            raise Refusal(503, "ledger_unavailable", message, headers={"Retry-After": "1"}) from None
        return json_response({"status": "ready", "playbook": self.parts.playbook.hash})

    def _touch(self) -> None:
        with self.parts.ledger.read() as uow:
            uow.cursors.get("ready")

    async def prometheus(self, request: Request) -> Response:
        """GET /metrics. What the ledger says of features is FRESH_FOR_S old at most; without a ledger it stays."""
        if time.monotonic() >= self._fresh_until:
            self._fresh_until = time.monotonic() + FRESH_FOR_S
            try:
                found = await asyncio.wait_for(asyncio.to_thread(self._look), READY_WITHIN_S)
            except (TimeoutError, Unavailable) as problem:
                log.warning("no freshness of features in /metrics: %s", problem or "the ledger did not answer")
            else:
                self.metrics.fresh(found[0])
                self.metrics.sources(found[1], self.parts.clock.now())
        return Response(self.metrics.text(), 200, None, CONTENT_TYPE_LATEST)

    def _look(self) -> tuple[Freshness, dict[str, Health]]:
        with self.parts.ledger.read() as uow:
            sources = health(self.parts.playbook, self.parts.clock.now(), uow) if self.parts.is_live else {}
        return freshness(self.parts.ledger, self.parts.clock), sources

    async def playbook(self, request: Request) -> Response:
        """GET /v1/playbook."""
        playbook = self.parts.playbook
        spec = playbook.spec.model_dump(mode="json", by_alias=True)
        return json_response({"playbook": playbook.hash, "spec": spec, "source": playbook.source.decode()})

    async def dead_letters(self, request: Request) -> Response:
        """GET /v1/dead-letters."""
        limit = read_limit(request.query_params.get("limit"))
        letters = await asyncio.to_thread(self._letters, limit)
        return json_response({"dead_letters": [letter_to_dict(d) for d in letters]})

    def _letters(self, limit: int) -> list[DeadLetter]:
        with self.parts.ledger.read() as uow:
            return uow.dead_letters.newest(limit)

    async def move_clock(self, request: Request) -> Response:
        """POST /v1/clock."""
        data = parse_object(await body_of(request, SMALL))
        if not data.keys() <= {"now"}:
            raise unknown_fields(data, frozenset(models.ClockBody.model_fields), "")
        to = read_instant(data.get("now"), "now")
        if to.year > 9000:
            raise bad("now", "out_of_range", "now lies too far in the future")
        advance = self.parts.advance
        if self.parts.settings.clock != "replay" or advance is None:
            raise Refusal(409, "wall_clock", "the clock is the wall's; start with OPPORTUNE_CLOCK=replay to move it")
        try:
            passage = await asyncio.to_thread(advance, to)
        except ValueError as problem:
            raise bad("now", "clock_goes_forward", str(problem)) from None
        happened = {name: getattr(passage, f"n_{name}") for name in ("timers", "messages", "sent", "released", "moved")}
        return json_response({"now": format_instant(to), **happened})

    def endpoints(self) -> list[Endpoint]:
        """What this file serves."""
        listed = {"type": "integer", "minimum": 1, "maximum": MAX_LISTED, "default": 100}
        tag, admin = "operation", Scope.ADMIN
        return [
            Endpoint(
                method="GET",
                path="/livez",
                answer=self.livez,
                scope=None,
                tag=tag,
                summary="The process is alive",
                errors=(),
            ),
            Endpoint(
                method="GET",
                path="/readyz",
                answer=self.readyz,
                scope=None,
                tag=tag,
                summary="Requests can be served",
                errors=(503,),
            ),
            Endpoint(
                method="GET",
                path="/metrics",
                answer=self.prometheus,
                scope=None,
                tag=tag,
                summary="Prometheus metrics of this process",
                errors=(),
                in_schema=False,
            ),
            Endpoint(
                method="GET",
                path="/v1/playbook",
                answer=self.playbook,
                scope=admin,
                tag=tag,
                summary="The active playbook, with its version",
                errors=(401, 403),
            ),
            Endpoint(
                method="GET",
                path="/v1/dead-letters",
                answer=self.dead_letters,
                scope=admin,
                tag="events",
                summary="Events that were refused, why, and how to mend them",
                query={"limit": (listed, "Newest first.")},
            ),
            Endpoint(
                method="POST",
                path="/v1/clock",
                answer=self.move_clock,
                scope=admin,
                tag=tag,
                summary="Move the replay clock forward",
                request=models.ClockBody,
                description=CLOCK_DESCRIPTION,
                errors=(400, 401, 403, 409, 413, 422, 503),
                examples={"new year": {"now": "2026-01-01T00:00:00Z"}},
            ),
        ]


def letter_to_dict(letter: DeadLetter) -> dict[str, Any]:
    """A dead letter in the shape of the API; `body` as JSON where it is JSON, however deep, else as text."""
    try:
        orjson.loads(letter.body)
        body: Any = orjson.Fragment(letter.body)
    except orjson.JSONDecodeError:
        body = letter.body.decode("utf-8", "replace")
    return {
        "letter_id": letter.letter_id,
        "received_at": format_instant(letter.received_at),
        "source": letter.source,
        "index": letter.index,
        "message_id": letter.message_id,
        "code": letter.code,
        "message": letter.message,
        "body": body,
    }
