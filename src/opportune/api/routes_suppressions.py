"""Suppression lists over HTTP."""

import asyncio
from typing import Any, Literal

from starlette.requests import Request
from starlette.responses import Response

from opportune.api import models
from opportune.api.asks import kind, read_id, unknown_fields
from opportune.api.endpoint import LARGE, Endpoint, body_of, json_response, parse_object
from opportune.api.keys import Scope
from opportune.api.parts import Parts
from opportune.api.problems import bad
from opportune.api.routes_customers import one_of, read_text
from opportune.domain.instants import EPOCH
from opportune.domain.suppressions import NAMING, ListedBy, named

MAX_ENTRIES = 10_000


class SuppressionRoutes:
    """POST /v1/suppressions."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts

    async def post(self, request: Request) -> Response:
        """List or lift."""
        data = parse_object(await body_of(request, LARGE))
        known = frozenset(models.SuppressionsBody.model_fields)
        if not data.keys() <= known:
            raise unknown_fields(data, known, "")
        entries = data.get("entries")
        if not isinstance(entries, list) or not 1 <= len(entries) <= MAX_ENTRIES:
            raise bad("entries", "wrong_type", f"entries must be a list of 1 to {MAX_ENTRIES:,} objects")
        state = "on" if data.get("state") is None else one_of(data["state"], ("on", "off"), "state")
        purpose = "all" if data.get("purpose") is None else one_of(data["purpose"], ("all", "marketing"), "purpose")
        source = read_text(data.get("source"), "source", 200) or "api"
        at = self.parts.clock.now()
        stops: Literal["all", "marketing"] = "marketing" if purpose == "marketing" else "all"
        people = [
            named(*read_entry(entry, f"entries[{i}]"), stops, state == "on", source, at)
            for i, entry in enumerate(entries)
        ]
        report = await asyncio.to_thread(self.parts.flows.suppress, people, self.parts.ledger, self.parts.clock)
        return json_response({"entries": report.n_read, "changed": report.n_new, "released": report.n_released})

    def endpoints(self) -> list[Endpoint]:
        """What this file serves."""
        return [
            Endpoint(
                method="POST",
                path="/v1/suppressions",
                answer=self.post,
                scope=Scope.ADMIN,
                tag="customers",
                summary="Put customers or addresses on the suppression list, or lift them",
                request=models.SuppressionsBody,
                description="Whoever is listed gets nothing (purpose marketing: transactional messages only). "
                "Only fingerprints are kept. The same entries again change nothing.",
                errors=(400, 401, 403, 413, 422, 503),
                examples={"an address": {"entries": [{"email": "ada@example.org"}], "source": "legal"}},
            )
        ]


def read_entry(entry: Any, field: str) -> tuple[str, str]:
    """(how it names somebody, the value that was tried and is one). Raises Refusal 422."""
    if not isinstance(entry, dict):
        raise bad(field, "wrong_type", f"{field} must be an object, not {kind(entry)}")
    given = {name: value for name, value in entry.items() if value is not None}
    if len(given) != 1 or not given.keys() <= NAMING.keys():
        raise bad(field, "wrong_members", f"{field} must have exactly one of {', '.join(NAMING)}")
    ((how, value),) = given.items()
    where = f"{field}.{how}"
    if NAMING[how][0] is ListedBy.CUSTOMER:
        return how, read_id(value, where)
    if not isinstance(value, str):
        raise bad(where, "wrong_type", f"{where} must be a string, not {kind(value)}")
    try:
        named(how, value, "all", True, "", EPOCH)
    except ValueError as problem:
        raise bad(where, "wrong_value", f"{where}: {problem}") from None
    return how, value
