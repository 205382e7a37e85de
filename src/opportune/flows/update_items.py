"""The catalogue is told something: items, the history of their changes and the news of it, in one commit."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from opportune.domain.events import DeadLetter
from opportune.domain.instants import format_instant
from opportune.domain.items import Item, ItemChange, ItemUpdate, update_items
from opportune.ports import Clock, Ledger, OutboxItem
from opportune.triggers.news import item_to_dict, prices_of

CHUNK = 500
#: Topic of the outbox: a change that those interested have still to hear of; key = change id.
NEWS = "news"


@dataclass(slots=True)
class Updated:
    """Items after their updates, in the order of first mention, and the changes of price, stock or availability."""

    items: dict[str, Item] = field(default_factory=dict)
    changes: list[ItemChange] = field(default_factory=list)


def put_items(updates: Sequence[ItemUpdate], ledger: Ledger, clock: Clock, *, is_news: bool = True) -> Updated:
    """Take updates in, in their order, in chunks of one transaction each.

    `is_news` false: an import, of which nobody hears. Taking the same in again changes nothing. Raises Unavailable:
    that chunk left nothing.
    """
    done = Updated()
    for start in range(0, len(updates), CHUNK):
        chunk = updates[start : start + CHUNK]
        ids = {u.item_id for u in chunk}
        with ledger.begin([f"item:{item_id}" for item_id in ids]) as uow:
            now = clock.now()
            items, changes = update_items(uow.items.get(ids), chunk, now)
            uow.items.put(list(items.values()))
            uow.items.add_changes(changes)
            if is_news and changes:
                uow.outbox.put([OutboxItem(topic=NEWS, key=c.change_id, available_at=now) for c in changes])
        done.items.update(items)
        done.changes += changes
    return done


def take_in_items(
    batches: Iterable[tuple[list[ItemUpdate], list[DeadLetter]]],
    ledger: Ledger,
    clock: Clock,
    count: Callable[[int], None] = lambda n: None,
) -> dict[str, int]:
    """Import items from a file; `count` hears how many were read. Returns counts. Raises Unavailable."""
    report = {"n_read": 0, "n_accepted": 0, "n_changed": 0, "n_refused": 0}
    for updates, letters in batches:
        done = put_items(updates, ledger, clock, is_news=False)
        if letters:
            with ledger.begin() as uow:
                uow.dead_letters.add(letters)
        report["n_read"] += len(updates) + len(letters)
        report["n_accepted"] += len(updates)
        report["n_changed"] += len(done.changes)
        report["n_refused"] += len(letters)
        count(report["n_read"])
    return report


def item_at(item_id: str, ledger: Ledger, n_changes: int = 20) -> dict[str, Any] | None:
    """One item in the shape of the API, with its newest changes; null when it is not known."""
    with ledger.read() as uow:
        item = uow.items.get([item_id]).get(item_id)
        changes = uow.items.changes_of(item_id, n_changes) if item else []
    if item is None:
        return None
    return {**item_to_dict(item), "changes": [_change_to_dict(c) for c in changes]}


def _change_to_dict(change: ItemChange) -> dict[str, Any]:
    return {
        "change_id": change.change_id,
        "at": format_instant(change.at),
        "recorded_at": format_instant(change.recorded_at),
        "is_new": change.is_new,
        **prices_of(change),
        "was_available": change.was_available,
        "is_available": change.is_available,
    }
