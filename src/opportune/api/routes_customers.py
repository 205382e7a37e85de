"""Customers, what they allowed, and what became of their messages."""

import asyncio
from datetime import datetime
from typing import Any, get_args

from starlette.requests import Request
from starlette.responses import Response

from opportune.api import models
from opportune.api.asks import CHANNELS, kind, read_id, read_instant, read_past, unknown_fields
from opportune.api.endpoint import SMALL, Endpoint, body_of, json_response, parse_object
from opportune.api.keys import Scope
from opportune.api.parts import Parts
from opportune.api.problems import Refusal, bad, short
from opportune.domain.customers import ANY, PROFILING
from opportune.domain.instants import format_instant
from opportune.domain.messages import Send

STATUSES: tuple[str, ...] = get_args(models.StatusBody.model_fields["status"].annotation)
CONSENT_CHANNELS = (*CHANNELS, PROFILING, ANY)
MAX_LISTED = 1000


class CustomerRoutes:
    """GET customers, PUT consent, POST message status, GET due messages."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts

    async def customer(self, request: Request) -> Response:
        """GET /v1/customers/{customer_id}."""
        customer_id = path_id(request, "customer_id")
        found = await asyncio.to_thread(self.parts.flows.profile, customer_id, self.parts.desk)
        if found is None:
            raise Refusal(404, "customer_not_found", "nothing is known of this customer: no event, consent or identity")
        return json_response(found)

    async def consent(self, request: Request) -> Response:
        """PUT /v1/customers/{customer_id}/consent."""
        customer_id = path_id(request, "customer_id")
        data = parse_object(await body_of(request, SMALL))
        if not data.keys() <= models.ConsentBody.model_fields.keys():
            raise unknown_fields(data, frozenset(models.ConsentBody.model_fields), "")
        topics = (*sorted(self.parts.playbook.spec.topics), ANY)
        now = self.parts.clock.now()
        line = await asyncio.to_thread(
            lambda: self.parts.flows.consent(
                customer_id=customer_id,
                channel=one_of(data.get("channel"), CONSENT_CHANNELS, "channel"),
                topic=ANY if data.get("topic") is None else one_of(data["topic"], topics, "topic"),
                state=one_of(data.get("state"), ("in", "out"), "state"),
                source=read_text(data.get("source"), "source", 200) or "api",
                at=read_past(data.get("at"), now, "at"),
                ledger=self.parts.ledger,
                clock=self.parts.clock,
            )
        )
        return json_response(
            {
                "customer_id": line.customer_id,
                "channel": line.channel,
                "topic": line.topic,
                "state": line.state.value,
                "source": line.source,
                "at": format_instant(line.at),
                "recorded_at": format_instant(line.recorded_at),
            }
        )

    async def status(self, request: Request) -> Response:
        """POST /v1/messages/{message_id}/status."""
        message_id = path_id(request, "message_id")
        data = parse_object(await body_of(request, SMALL))
        if not data.keys() <= models.StatusBody.model_fields.keys():
            raise unknown_fields(data, frozenset(models.StatusBody.model_fields), "")
        status = one_of(data.get("status"), STATUSES, "status")
        at = read_past(data.get("at"), self.parts.clock.now(), "at")
        reason = read_text(data.get("reason"), "reason", 500)
        parts = self.parts
        try:
            send = await asyncio.to_thread(
                parts.flows.report_status, message_id, status, at, reason, parts.ledger, parts.clock
            )
        except KeyError as problem:
            if problem.args != (message_id,):
                raise
            raise Refusal(404, "message_not_found", "there is no message with this id") from None
        return json_response({"message_id": send.message_id, "status": status, "state": send.state.value})

    async def due(self, request: Request) -> Response:
        """GET /v1/messages?due_before=T."""
        query = request.query_params
        before = query.get("due_before")
        deliver = one_of(query.get("deliver", "caller"), ("caller", "service", "any"), "deliver")
        limit = read_limit(query.get("limit"))
        instant = self.parts.clock.now() if before is None else read_query_instant(before, "due_before")
        sends = await asyncio.to_thread(self._due, instant, limit, None if deliver == "any" else deliver)
        return json_response({"messages": [due_to_dict(s) for s in sends]})

    def _due(self, before: datetime, limit: int, deliver: str | None) -> list[Send]:
        with self.parts.ledger.read() as uow:
            return uow.sends.due(before, limit, deliver)

    def endpoints(self) -> list[Endpoint]:
        """What this file serves."""
        listed = {"type": "integer", "minimum": 1, "maximum": MAX_LISTED, "default": 100}
        return [
            Endpoint(
                method="GET",
                path="/v1/customers/{customer_id}",
                answer=self.customer,
                scope=Scope.ADMIN,
                tag="customers",
                summary="What is known of one customer now",
                errors=(401, 403, 404, 422, 503),
                description="Traits, identities, consent in force, features, sends, running timers and journeys. "
                "A `/` in an id is sent as %2F.",
            ),
            Endpoint(
                method="PUT",
                path="/v1/customers/{customer_id}/consent",
                answer=self.consent,
                scope=Scope.ADMIN,
                tag="customers",
                summary="Record what a customer allowed or withdrew",
                request=models.ConsentBody,
                description="Takes effect at once. The history is kept; the newest line by `at` is in force. "
                "The same line again changes nothing.",
                errors=(400, 401, 403, 413, 422, 503),
                examples={"opt out": {"channel": "email", "topic": "*", "state": "out", "source": "preference page"}},
            ),
            Endpoint(
                method="POST",
                path="/v1/messages/{message_id}/status",
                answer=self.status,
                scope=Scope.DECIDE,
                tag="messages",
                summary="Report what became of a message",
                request=models.StatusBody,
                description="`sent` commits the reservation, `not_sent` releases it; silence counts as sent. "
                "The rest are outcomes.",
                errors=(400, 401, 403, 404, 413, 422, 503),
                examples={"sent": {"status": "sent"}},
            ),
            Endpoint(
                method="GET",
                path="/v1/messages",
                answer=self.due,
                scope=Scope.DECIDE,
                tag="messages",
                summary="Messages whose send_at has come and that were not handed off",
                query={
                    "due_before": ({"type": "string", "format": "date-time"}, "Default: now."),
                    "deliver": ({"enum": ["caller", "service", "any"], "default": "caller"}, "Who sends them."),
                    "limit": (listed, "At most this many, oldest first."),
                },
            ),
        ]


def path_id(request: Request, name: str) -> str:
    """An id in the path, `%2F` in it meaning a slash."""
    return read_id(request.path_params[name].replace(SLASH, "/"), name)


#: Stands for an encoded slash while a path is routed: no decoded path can hold half a surrogate pair.
SLASH = "\udc2f"


def one_of(value: object, known: tuple[str, ...], field: str) -> str:
    """One of a closed list. Raises Refusal 422 naming the list."""
    if isinstance(value, str) and value in known:
        return value
    if value is None:
        raise bad(field, "missing", f"{field} is required: one of {', '.join(known)}")
    raise bad(field, "unknown_value", f"{field} must be one of {', '.join(known)}, not '{short(value)}'")


def read_text(value: object, field: str, limit: int) -> str | None:
    """A short text of the caller's; null when absent or empty."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise bad(field, "wrong_type", f"{field} must be a string, not {kind(value)}")
    if len(value) > limit:
        raise bad(field, "bad_length", f"{field} must have at most {limit} characters; it has {len(value)}")
    if "\x00" in value:
        raise bad(field, "nul_character", f"{field} holds a NUL character: remove it")
    return value or None


def read_limit(value: str | None, default: int = 100) -> int:
    """`limit` of a query string: 1 to 1,000."""
    if value is None:
        return default
    if not (value.isascii() and value.isdigit()) or not 1 <= int(value[:9]) <= MAX_LISTED:
        raise bad("limit", "out_of_range", f"limit must be a whole number from 1 to {MAX_LISTED}")
    return int(value)


def read_query_instant(value: str, field: str) -> datetime:
    """An instant in a query string, where an unencoded `+` arrives as a space; at most a year 9000."""
    at = read_instant(value.replace(" ", "+") if value.count(" ") == 1 and "T" in value else value, field)
    if at.year > 9000:
        raise bad(field, "out_of_range", f"{field} lies too far in the future")
    return at


def due_to_dict(send: Send) -> dict[str, Any]:
    """A due message in the shape of the API: what a caller needs to send it."""
    payload = dict(send.payload)
    return {
        "message_id": send.message_id,
        "decision_id": send.decision_id,
        "customer_id": send.customer_id,
        "rank": send.rank,
        "campaign": send.campaign,
        "trigger": send.trigger,
        "channel": send.channel,
        "variant": send.variant,
        "deliver": send.deliver.value,
        "send_at": format_instant(send.send_at),
        "expires_at": format_instant(send.expires_at),
        "payload": payload,
    }
