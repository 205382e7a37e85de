"""Refusals and how they are told: RFC 9457 problem+json, with `code` and `message` beside the standard members."""

from collections.abc import Mapping
from http import HTTPStatus

import orjson
from starlette.responses import Response

PROBLEM_JSON = "application/problem+json"


class Refusal(Exception):
    """A request that is answered with an error. `code` is stable and machine readable; `message` says what to do.

    `field` names the offending member (`channels[1]`, `customers[3].customer_id`), null when none is to blame.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        field: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.field = status, code, message, field
        self.headers = dict(headers or {})

    def as_item(self) -> dict[str, str | None]:
        """The error object one item of a batch carries."""
        return {"code": self.code, "field": self.field, "message": self.message}


def bad(field: str | None, code: str, message: str) -> Refusal:
    """422: the body was read, and one field of it cannot be accepted."""
    return Refusal(422, code, message, field)


def busy(message: str, after_s: int = 1) -> Refusal:
    """503 with Retry-After (seconds): nothing was written, try again."""
    return Refusal(503, "unavailable", message, headers={"Retry-After": str(after_s)})


def problem_response(refusal: Refusal) -> Response:
    """The answer to a refusal. `type` is a URN made of the code; `title` is the HTTP phrase."""
    body: dict[str, object] = {
        "type": f"urn:opportune:problem:{refusal.code}",
        "title": HTTPStatus(refusal.status).phrase,
        "status": refusal.status,
        "detail": refusal.message,
        "code": refusal.code,
        "message": refusal.message,
    }
    if refusal.field is not None:
        body["field"] = refusal.field
    return Response(orjson.dumps(body), refusal.status, refusal.headers, PROBLEM_JSON)


def short(text: object, limit: int = 64) -> str:
    """A caller's own text, safe to repeat in a message: printable and cut to `limit` characters."""
    shown = str(text)
    shown = shown if len(shown) <= limit else shown[: limit - 1] + "…"
    return shown.encode("ascii", "backslashreplace").decode() if not shown.isprintable() else shown
