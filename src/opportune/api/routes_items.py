"""The catalogue of items: what can be bought, at which price, how many are left."""

import asyncio
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from opportune.api import models
from opportune.api.asks import unknown_fields
from opportune.api.endpoint import LARGE, SMALL, Endpoint, body_of, json_response, parse_object
from opportune.api.keys import Scope
from opportune.api.parts import Parts
from opportune.api.problems import Refusal, bad
from opportune.api.routes_customers import path_id
from opportune.domain.item_updates import MAX_ID, ItemRefused, read_update
from opportune.domain.items import ItemUpdate
from opportune.flows.update_items import Updated
from opportune.triggers.news import item_to_dict

MAX_ITEMS = 1000
_WHOLE_ITEM = {
    "price_minor": 1990, "stock": 12, "category": "shoes", "title": "Canvas shoe", "url": "https://shop.example/p7",
    "image_url": "https://shop.example/p7.jpg", "attributes": {"colour": "red"},
    "updated_at": "2026-03-01T18:05:00Z",
}  # fmt: skip


class ItemRoutes:
    """PUT and GET /v1/items/{id}, POST /v1/items/batch."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts

    async def put(self, request: Request) -> Response:
        """PUT /v1/items/{item_id}."""
        item_id = item_id_of(request)
        data = parse_object(await body_of(request, SMALL))
        try:
            update = read_update(data, self.parts.clock.now(), item_id)
        except ItemRefused as refused:
            raise refusal_of(refused) from None
        done = await self.write([update])
        return json_response(item_to_dict(done.items[item_id]))

    async def get(self, request: Request) -> Response:
        """GET /v1/items/{item_id}."""
        found = await asyncio.to_thread(self.parts.flows.item, item_id_of(request), self.parts.ledger)
        if found is None:
            raise Refusal(404, "item_not_found", "the catalogue has no item with this id")
        return json_response(found)

    async def batch(self, request: Request) -> Response:
        """POST /v1/items/batch."""
        data = parse_object(await body_of(request, LARGE))
        if not data.keys() <= {"items"}:
            raise unknown_fields(data, frozenset({"items"}), "")
        items = data.get("items")
        if not isinstance(items, list) or not items:
            raise bad("items", "missing", 'items is required: a list like [{"item_id": "p7", "price_minor": 1990}]')
        if len(items) > MAX_ITEMS:
            raise bad("items", "too_many", f"items has {len(items)} entries; at most {MAX_ITEMS} at a time")
        now = self.parts.clock.now()
        read: list[ItemUpdate | Refusal] = []
        for i, item in enumerate(items):
            try:
                read.append(read_update(item, now))
            except ItemRefused as refused:
                read.append(refusal_of(refused, f"items[{i}]"))
        done = await self.write([update for update in read if isinstance(update, ItemUpdate)])
        return json_response({"items": [told(one, given, done) for one, given in zip(read, items, strict=True)]})

    async def write(self, updates: list[ItemUpdate]) -> Updated:
        """Take updates in, aside from the loop."""
        return await asyncio.to_thread(self.parts.flows.put_items, updates, self.parts.ledger, self.parts.clock)

    def endpoints(self) -> list[Endpoint]:
        """What this file serves."""
        what = (
            "A field left out keeps its value, null clears it. Field by field the newest `updated_at` wins, whatever "
            "the order of arrival; left out it means now. The same update again changes nothing. "
        )
        return [
            Endpoint(
                method="PUT",
                path="/v1/items/{item_id}",
                answer=self.put,
                scope=Scope.ADMIN,
                tag="items",
                summary="Say what is so of an item",
                request=models.ItemBody,
                description=what + "A change of price or stock fires the catalogue triggers of those interested.",
                errors=(400, 401, 403, 413, 422, 503),
                examples={"whole": _WHOLE_ITEM, "price": {"price_minor": 1490}, "sold out": {"stock": 0}},
            ),
            Endpoint(
                method="GET",
                path="/v1/items/{item_id}",
                answer=self.get,
                scope=Scope.ADMIN,
                tag="items",
                summary="An item and how its price and stock changed",
                errors=(401, 403, 404, 422, 503),
            ),
            Endpoint(
                method="POST",
                path="/v1/items/batch",
                answer=self.batch,
                scope=Scope.ADMIN,
                tag="items",
                summary="Up to 1,000 items at once",
                request=models.ItemsBody,
                response=models.ItemsOut,
                description=what + "In the order given; one bad item does not fail the rest.",
                errors=(400, 401, 403, 413, 422, 503),
                examples={"two": {"items": [{"item_id": "p7", **_WHOLE_ITEM}, {"item_id": "p8", "stock": 0}]}},
            ),
        ]


def item_id_of(request: Request) -> str:
    """The item id in the path."""
    item_id = path_id(request, "item_id")
    if len(item_id) > MAX_ID:
        raise bad("item_id", "bad_length", f"item_id must have 1 to {MAX_ID} characters; it has {len(item_id)}")
    return item_id


def refusal_of(refused: ItemRefused, where: str = "") -> Refusal:
    """A refused item as the API tells it; `where` goes before the field."""
    field = ".".join(part for part in (where, refused.field) if part) or None
    return bad(field, refused.code, refused.message)


def told(one: ItemUpdate | Refusal, given: Any, done: Updated) -> Mapping[str, Any]:
    """One answer of a batch."""
    if isinstance(one, Refusal):
        return {"item_id": given.get("item_id") if isinstance(given, dict) else None, "error": one.as_item()}
    return item_to_dict(done.items[one.item_id])
