"""Feature states of the ledger, whatever catalogue packed them: outdated ones are rebuilt from the events."""

from collections.abc import Collection, Mapping

from opportune.domain.states import StateRow
from opportune.features import state as feature_state
from opportune.features.state import State, StateOutdated
from opportune.ports import UnitOfWork


def unpack_readable(rows: Mapping[str, StateRow]) -> dict[str, State]:
    """The states that this catalogue can read; others are left out."""
    found = {}
    for customer_id, row in rows.items():
        try:
            found[customer_id] = feature_state.unpack(row.state)
        except StateOutdated:
            continue
    return found


def ledger_states(customer_ids: Collection[str], uow: UnitOfWork) -> tuple[dict[str, State], dict[str, int]]:
    """State and version of each customer that has one; an outdated state is rebuilt from the events, not stored."""
    rows = uow.states.get(customer_ids)
    states = unpack_readable(rows)
    outdated = [c for c in rows if c not in states]
    if outdated:
        events = uow.events.of(outdated)
        states.update({c: feature_state.rebuild(events.get(c, ())) for c in outdated})
    return states, {c: row.version for c, row in rows.items()}
