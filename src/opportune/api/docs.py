"""/docs and /openapi.json: assets served from here, examples that run against this very server."""

from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from opportune.api.endpoint import Endpoint
from opportune.api.models import Problem
from opportune.api.problems import PROBLEM_JSON, Refusal

ASSETS = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "favicon-32x32.png": "image/png",
    "LICENSE": "text/plain",
    "NOTICE": "text/plain",
    "swagger-ui-bundle.js.LICENSE.txt": "text/plain",
}
_REFS = "#/components/schemas/{model}"
_ERRORS = {
    400: "The body cannot be read at all.",
    401: "No key, or one that is not known.",
    403: "A key without the scope this needs.",
    404: "There is none.",
    409: "Not in this state; see code.",
    413: "The body is too large.",
    422: "One field cannot be accepted; `field` names it.",
    429: "Too fast; see Retry-After.",
    503: "Nothing was written; try again after Retry-After.",
}
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Opportune: HTTP reference</title>
<link rel="icon" href="docs/assets/favicon-32x32.png"><link rel="stylesheet" href="docs/assets/swagger-ui.css"></head>
<body><div id="ui"></div><script src="docs/assets/swagger-ui-bundle.js"></script>
<script>
SwaggerUIBundle({url: "openapi.json", dom_id: "#ui", deepLinking: true, tryItOutEnabled: true,
  displayRequestDuration: true, persistAuthorization: true, validatorUrl: null});
</script></body></html>
"""


async def page(request: Request) -> Response:
    """GET /docs."""
    return HTMLResponse(_PAGE)


async def asset(request: Request) -> Response:
    """GET /docs/assets/{name}: one of a closed list."""
    name = request.path_params["name"]
    if name not in ASSETS:
        raise Refusal(404, "not_found", "there is no such asset")
    body = (files("opportune.api") / "static" / name).read_bytes()
    return Response(body, 200, {"Cache-Control": "public, max-age=86400"}, ASSETS[name])


def documented(endpoint: Endpoint) -> dict[str, Any]:
    """What OpenAPI needs to know beyond method and path."""
    parameters: list[dict[str, Any]] = [
        {"name": name.split(":")[0], "in": "path", "required": True, "schema": {"type": "string"}}
        for name in names_in(endpoint.path)
    ]
    parameters += [
        {"name": name, "in": "query", "required": False, "schema": dict(schema), "description": text}
        for name, (schema, text) in endpoint.query.items()
    ]
    parameters += [
        {"name": name, "in": "header", "required": False, "schema": {"type": "string"}, "description": text}
        for name, text in endpoint.headers.items()
    ]
    extra: dict[str, Any] = {"parameters": parameters} if parameters else {}
    if endpoint.request is not None or endpoint.body_schema is not None:
        named = {"$ref": _REFS.format(model=endpoint.request.__name__)} if endpoint.request else endpoint.body_schema
        content: dict[str, Any] = {"schema": named}
        if endpoint.examples:
            content["examples"] = {name: {"value": value} for name, value in endpoint.examples.items()}
        extra["requestBody"] = {"required": True, "content": {"application/json": content}}
    if endpoint.scope is not None or endpoint.tag == "events":
        extra["security"] = [{"bearer": []}, {"basic": []}]
    return extra


def answers(endpoint: Endpoint) -> dict[int | str, dict[str, Any]]:
    """The documented answers of one endpoint."""
    told: dict[int | str, dict[str, Any]] = {
        status: {
            "description": _ERRORS[status],
            "content": {PROBLEM_JSON: {"schema": {"$ref": _REFS.format(model="Problem")}}},
        }
        for status in endpoint.errors
    }
    schema = {"$ref": _REFS.format(model=endpoint.response.__name__)} if endpoint.response else {"type": "object"}
    return {200: {"description": "Done.", "content": {"application/json": {"schema": schema}}}, **told}


def names_in(path: str) -> list[str]:
    """The parameters in a path template."""
    return [part[1:-1] for part in path.split("/") if part.startswith("{")]


def openapi_of(app: FastAPI, endpoints: Sequence[Endpoint]) -> Mapping[str, Any]:
    """The whole document, with the schemas of every documented model."""
    found: set[type[BaseModel]] = {m for e in endpoints for m in (e.request, e.response) if m is not None} | {Problem}
    shapes = sorted(found, key=lambda m: m.__name__)
    _, schemas = models_json_schema([(m, "validation") for m in shapes], ref_template=_REFS)
    document = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes, tags=app.openapi_tags
    )
    components = document.setdefault("components", {})
    components.setdefault("schemas", {}).update(schemas["$defs"])
    components["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer", "description": "Authorization: Bearer KEY"},
        "basic": {"type": "http", "scheme": "basic", "description": "The key as user name, no password."},
    }
    return document
