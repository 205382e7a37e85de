"""The HTTP door: every route in one table, hot paths found before any routing, every error told as a problem."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import unquote

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from opportune import __version__
from opportune.api import docs
from opportune.api.endpoint import Answering, Endpoint, guarded, json_response, refusal_of
from opportune.api.keys import Keys
from opportune.api.metrics import Metrics
from opportune.api.parts import Parts
from opportune.api.problems import Refusal, problem_response
from opportune.api.pulse import pulse
from opportune.api.routes_customers import SLASH, CustomerRoutes
from opportune.api.routes_decisions import DecisionRoutes
from opportune.api.routes_events import EventRoutes
from opportune.api.routes_experiments import ExperimentRoutes
from opportune.api.routes_explain import ExplainRoutes
from opportune.api.routes_items import ItemRoutes
from opportune.api.routes_links import LinkRoutes
from opportune.api.routes_operate import OperateRoutes
from opportune.api.routes_suppressions import SuppressionRoutes

DESCRIPTION = "Behaviour in; ranked, capped, explained message decisions out."
TAGS = [
    {"name": "events", "description": "The Segment HTTP Tracking API: what customers did."},
    {"name": "decisions", "description": "What to say to whom, and why not the rest."},
    {"name": "messages", "description": "What became of what was said."},
    {"name": "customers", "description": "What is known of one customer, and what they allow."},
    {"name": "items", "description": "The catalogue: prices, stock, and how they changed."},
    {"name": "operation", "description": "Probes, playbook, clock."},
]


class Door(FastAPI):
    """FastAPI for documents and ordinary paths; hot paths are a dictionary look-up in front of it."""

    hot: dict[tuple[str, str], Answering]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            answer = self.hot.get((scope["method"], scope["path"]))
            if answer is not None:
                await (await answer(Request(scope, receive)))(scope, receive, send)
                return
            keep_slashes(scope)
        await super().__call__(scope, receive, send)


def create_app(parts: Parts) -> Door:
    """The application of one serving process. Its workers start with the lifespan and are drained at its end."""
    metrics, keys = Metrics(), Keys(parts.settings)
    decisions, events, customers = (
        DecisionRoutes(parts, metrics),
        EventRoutes(parts, keys, metrics),
        CustomerRoutes(parts),
    )
    batchers = (decisions.batcher, events.batcher)
    operate = OperateRoutes(parts, metrics, lambda: all(b.is_alive for b in batchers))

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        if parts.warm is not None:
            parts.warm()
        if parts.freeze:
            gc.collect()
            gc.freeze()
        beating = asyncio.create_task(pulse(events.touch, parts.ledger, parts.clock)) if parts.is_live else None
        try:
            yield
        finally:
            if beating is not None:
                beating.cancel()
            for batcher in batchers:
                await batcher.close()

    app = Door(
        title="Opportune",
        version=__version__,
        description=DESCRIPTION,
        openapi_tags=TAGS,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    endpoints = [*events.endpoints(), *decisions.endpoints(), *customers.endpoints(), *operate.endpoints()]
    for made in (ExperimentRoutes, ExplainRoutes, ItemRoutes, SuppressionRoutes, LinkRoutes):
        endpoints += made(parts).endpoints()
    endpoints += document_endpoints(app)
    app.hot = {}
    for endpoint in endpoints:
        register(app, endpoint, guarded(endpoint, keys, metrics))
    document: dict[str, Any] = {}

    def openapi() -> dict[str, Any]:
        if not document:
            document.update(docs.openapi_of(app, endpoints))
        return document

    app.openapi = openapi  # type: ignore[method-assign]
    app.add_exception_handler(HTTPException, told)
    app.add_exception_handler(Exception, told)
    return app


def register(app: Door, endpoint: Endpoint, answer: Answering) -> None:
    """Put one endpoint on the app, and among the hot paths when it is one."""
    if endpoint.is_hot:
        app.hot[endpoint.method, endpoint.path] = answer
    if not endpoint.in_schema:
        app.router.add_route(endpoint.path, answer, methods=[endpoint.method], include_in_schema=False)
        return
    app.add_api_route(
        endpoint.path,
        answer,
        methods=[endpoint.method],
        summary=endpoint.summary,
        description=endpoint.description,
        tags=[endpoint.tag],
        response_model=None,
        response_class=Response,
        responses=docs.answers(endpoint),
        openapi_extra=docs.documented(endpoint),
        operation_id=f"{endpoint.method.lower()}_{endpoint.path.strip('/').replace('/', '_')}",
    )


def document_endpoints(app: FastAPI) -> list[Endpoint]:
    """The reference itself."""

    async def openapi_json(request: Request) -> Response:
        return json_response(app.openapi())

    pages = {"/openapi.json": openapi_json, "/docs": docs.page, "/docs/assets/{name}": docs.asset}
    return [
        Endpoint(
            method="GET",
            path=path,
            answer=answer,
            scope=None,
            tag="operation",
            summary=path,
            errors=(),
            in_schema=False,
        )
        for path, answer in pages.items()
    ]


def keep_slashes(scope: Scope) -> None:
    """An encoded slash in a path belongs to an id: route without taking it for a separator."""
    raw: bytes = scope.get("raw_path") or b""
    if b"%2f" in raw.lower():
        text = raw.split(b"?", 1)[0].decode("latin-1").replace("%2f", "%2F")
        scope["path"] = SLASH.join(unquote(part) for part in text.split("%2F"))


async def told(request: Request, problem: Exception) -> Response:
    """Errors of routing itself: unknown path, wrong method, anything the framework refuses."""
    if not isinstance(problem, HTTPException):
        return problem_response(refusal_of(problem))
    known = {
        404: ("not_found", "there is nothing at this path; /docs lists what there is"),
        405: ("method_not_allowed", f"{request.method} is not possible here; see the Allow header"),
    }
    code, message = known.get(problem.status_code, ("refused", str(problem.detail)))
    return problem_response(Refusal(problem.status_code, code, message, headers=dict(problem.headers or {})))
