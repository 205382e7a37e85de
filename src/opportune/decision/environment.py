"""What conditions and templates may read in one decision."""

from collections.abc import Mapping
from typing import Any

from opportune.domain import links
from opportune.domain.decisions import Case

_NOTHING: Mapping[str, Any] = {}


def environment(case: Case) -> dict[str, Any]:
    """`event` (properties of the envelope that fired, empty for a request), `item` (what a catalogue
    trigger is about, as it was when it fired), `features`, `scores` (name -> p),
    `traits`, `context`, and for templates `customer_id` and, where we have pages, the links to them."""
    firing = case.ask.firing
    return {
        "event": firing.properties if firing is not None else _NOTHING,
        "item": (firing.properties.get("item") if firing is not None else None) or _NOTHING,
        "features": case.features,
        "scores": {name: score.p for name, score in case.scores.items()},
        "traits": case.customer.traits,
        "context": case.ask.context,
        "customer_id": case.customer.customer_id,
        **links.slots(case.public_url),
    }
