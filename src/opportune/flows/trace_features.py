"""One customer's features at an instant, each with the events it came from."""

from datetime import datetime
from typing import Any

from opportune.domain.instants import format_instant
from opportune.features.catalog import NAMES
from opportune.features.sources import described, sources
from opportune.features.state import finalise, rebuild
from opportune.flows.past import past_of
from opportune.playbook.load import Playbook
from opportune.ports import Ledger


def trace_features(
    customer_id: str, at: datetime, ledger: Ledger, playbook: Playbook, n_events: int = 5
) -> dict[str, Any]:
    """`customer_id`, `at`, `n_events` and `features`: name -> value, meaning, n_events and the newest `events`."""
    with ledger.read() as uow:
        past = past_of(customer_id, at, playbook, uow)
    values = finalise(rebuild(past.events), at)
    came_from = sources(past.events, at)
    return {
        "customer_id": past.customer.customer_id,
        "at": format_instant(at),
        "n_events": len(past.events),
        "features": {
            name: {
                "value": values[name],
                "meaning": described(name),
                "n_events": len(came_from.get(name, ())),
                "events": [
                    {"event_at": format_instant(e.event_at), "name": e.name, "message_id": e.message_id}
                    for e in came_from.get(name, ())[:n_events]
                ],
            }
            for name in NAMES
        },
    }
