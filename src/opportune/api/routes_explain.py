"""Why one customer heard something, or not, at any past moment; and what if."""

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from opportune.api import models
from opportune.api.asks import CHANNELS, NOW_WITHIN, read_context, read_id, read_instant, unknown_fields
from opportune.api.endpoint import SMALL, Endpoint, body_of, json_response, parse_object
from opportune.api.keys import Scope
from opportune.api.parts import Parts
from opportune.api.problems import bad, short
from opportune.api.wire import clean_object
from opportune.domain.envelopes import Reading, read_envelope
from opportune.domain.events import Event, Origin
from opportune.domain.refusals import Refused
from opportune.flows.explain import Assumed

MAX_ASSUMED = 100


class ExplainRoutes:
    """POST /v1/explanations."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts

    async def explain(self, request: Request) -> Response:
        """POST /v1/explanations."""
        data = parse_object(await body_of(request, SMALL))
        known = frozenset(models.ExplainBody.model_fields)
        if not data.keys() <= known:
            raise unknown_fields(data, known, "")
        for name in ("customer_id", "campaign"):
            if data.get(name) is None:
                raise bad(name, "missing", f"{name} is required")
        customer_id = read_id(data["customer_id"], "customer_id")
        campaign, channel = data["campaign"], data.get("channel")
        campaigns = self.parts.playbook.spec.campaigns
        if not isinstance(campaign, str) or campaign not in campaigns:
            known_names = ", ".join(sorted(campaigns)) or "none"
            raise bad("campaign", "unknown_campaign", f"no campaign '{short(campaign)}' in the playbook: {known_names}")
        if channel is not None and channel not in campaigns[campaign].channels:
            spoken = ", ".join(campaigns[campaign].channels)
            allowed = spoken if channel in CHANNELS else ", ".join(CHANNELS)
            raise bad("channel", "unknown_channel", f"{campaign} speaks by {allowed}, not by '{short(channel)}'")
        now = self.parts.clock.now()
        at = now if data.get("at") is None else read_instant(data["at"], "at")
        if at > now + NOW_WITHIN:
            raise bad("at", "in_the_future", f"at lies in the future: it is {now.isoformat()} here")
        context = {} if data.get("context") is None else read_context(data["context"], "context")
        assumed = read_assumed(data.get("assume"), customer_id, min(at, now))
        explain = self.parts.flows.explain
        found = await asyncio.to_thread(
            explain,
            customer_id,
            campaign,
            min(at, now),
            self.parts.desk,
            channel=channel,
            context=context,
            assumed=assumed,
        )
        return json_response(found)

    def endpoints(self) -> list[Endpoint]:
        """What this file serves."""
        return [
            Endpoint(
                method="POST",
                path="/v1/explanations",
                answer=self.explain,
                scope=Scope.DECIDE,
                tag="decisions",
                summary="Why did this campaign reach this customer at that moment, or why not?",
                description="Read-only. `remedies` says what would have had to be otherwise; `assume` asks what if.",
                request=models.ExplainBody,
                errors=(400, 401, 403, 413, 422, 503),
                examples={
                    "now": {"customer_id": "c42", "campaign": "cart_reminder"},
                    "what if": {
                        "customer_id": "c42",
                        "campaign": "cart_reminder",
                        "assume": {"traits": {"plan": "gold"}, "events": [{"event": "Product Viewed"}]},
                    },
                },
            )
        ]


def read_assumed(value: object, customer_id: str, at: datetime) -> Assumed | None:
    """`assume`: events in the shape of batch items (`type`, `userId` and `timestamp` may be left out: a track of this
    customer, at the moment asked about) and traits. Null when nothing is assumed."""
    if value is None:
        return None
    if not isinstance(value, Mapping) or not value.keys() <= {"traits", "events"}:
        raise bad("assume", "wrong_type", 'assume must be an object like {"traits": {...}, "events": [...]}')
    items, traits = value.get("events"), value.get("traits")
    if items is not None and (not isinstance(items, list) or len(items) > MAX_ASSUMED):
        raise bad("assume.events", "wrong_type", f"assume.events must be a list of at most {MAX_ASSUMED} events")
    if traits is not None and not isinstance(traits, dict):
        raise bad("assume.traits", "wrong_type", 'assume.traits must be an object like {"plan": "gold"}')
    events = [read_assumed_event(item, customer_id, at, i) for i, item in enumerate(items or ())]
    return Assumed(events=events, traits=clean_object(traits, "assume.traits") if traits else {})


def read_assumed_event(item: Any, customer_id: str, at: datetime, number: int) -> Event:
    """One event that did not happen. Raises Refusal 422 naming it."""
    where = f"assume.events[{number}]"
    if not isinstance(item, dict):
        raise bad(where, "wrong_type", f'{where} must be an object like {{"event": "Product Viewed"}}')
    full = {"type": "track", "userId": customer_id, "timestamp": at.isoformat(), **item}
    reading = Reading(received_at=at, origin=Origin.LIVE, new_id=lambda: f"assumed-{number}", retention=None)
    try:
        return read_envelope(full, reading)
    except Refused as refused:
        raise bad(where, refused.code.value, f"{where}: {refused.message}") from None
