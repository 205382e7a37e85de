"""One endpoint: what it is called, who may call it, what it says of itself, and how any error becomes an answer."""

import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from pydantic import BaseModel
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from opportune.api.batcher import Full
from opportune.api.body import BodyUnreadable, read_body
from opportune.api.keys import Keys, Scope, key_of
from opportune.api.metrics import Metrics
from opportune.api.problems import Refusal, busy, problem_response
from opportune.ports import LockLost, Unavailable

log = logging.getLogger("opportune.api")

#: Body limits in bytes: one ask or fact, and anything that carries a list.
SMALL, LARGE = 256 * 1024, 4 * 1024 * 1024

Answering = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One method on one path. `scope` null: open to everybody, or (ingestion) checked by the endpoint itself.

    `is_hot`: found by a dictionary look-up before any routing. `query`: name -> (schema, description).
    `known_as`: the path in metrics, when several paths are one call. `body_schema`: a request body without a model.
    """

    method: str
    path: str
    answer: Answering
    scope: Scope | None
    tag: str
    summary: str
    description: str = ""
    request: type[BaseModel] | None = None
    response: type[BaseModel] | None = None
    examples: Mapping[str, Any] = field(default_factory=dict)
    query: Mapping[str, tuple[Mapping[str, Any], str]] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    errors: tuple[int, ...] = (401, 403, 422, 503)
    body_schema: Mapping[str, Any] | None = None
    known_as: str = ""
    is_hot: bool = False
    in_schema: bool = True


def guarded(endpoint: Endpoint, keys: Keys, metrics: Metrics) -> Answering:
    """The endpoint with its key asked for, its errors turned into problems, and its time taken."""
    scope, answer, watch = (
        endpoint.scope,
        endpoint.answer,
        metrics.watch(endpoint.method, endpoint.known_as or endpoint.path),
    )

    async def call(request: Request) -> Response:
        started = time.perf_counter()
        try:
            if scope is not None and not keys.is_open:
                keys.require(scope, key_of(request.headers.get("authorization")))
            response = await answer(request)
        except Exception as problem:  # noqa: BLE001 - the last resort: every error becomes an answer
            response = problem_response(refusal_of(problem))
        watch(response.status_code, time.perf_counter() - started)
        return response

    return call


def refusal_of(problem: Exception) -> Refusal:
    """How an error is told. What nobody foresaw is logged and told as 500 without its internals."""
    if isinstance(problem, Refusal):
        return problem
    if isinstance(problem, Unavailable):
        return busy(str(problem) or "a part of the service cannot be reached; try again")
    if isinstance(problem, Full):
        return busy(str(problem))
    if isinstance(problem, LockLost):
        return busy("this customer is being changed by others; try again")
    if isinstance(problem, ClientDisconnect):
        return Refusal(400, "disconnected", "the connection was closed before the whole body had come")
    log.error("unforeseen error", exc_info=problem)
    return Refusal(500, "internal", "an error of ours, logged; if it stays, report it with the time of the request")


async def body_of(request: Request, limit: int) -> bytes:
    """The raw body, unpacked when it is gzip, at most `limit` bytes. Raises Refusal 400 or 413."""
    try:
        return await read_body(request.stream(), request.headers.get("content-encoding"), limit)
    except BodyUnreadable as unreadable:
        raise Refusal(unreadable.status, unreadable.code, str(unreadable)) from None


def parse_object(body: bytes) -> dict[str, Any]:
    """The body as a JSON object. Raises Refusal 400 when it is none."""
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError as problem:
        raise Refusal(400, "invalid_json", f"the body is not JSON that can be read: {problem}") from None
    if not isinstance(data, dict):
        raise Refusal(400, "not_an_object", 'the body must be a JSON object, like {"customer_id": "c42"}')
    return data


def json_response(data: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """JSON bytes."""
    return Response(
        orjson.dumps(data, option=orjson.OPT_NON_STR_KEYS),
        status,
        dict(headers) if headers else None,
        "application/json",
    )
