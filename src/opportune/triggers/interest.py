"""Interest in items and categories, as a function of the events. Pure.

A row says that an identity did something (a signal) with a subject, and when it last did. The customer behind the
identities is worked out when the rows are read, so that merges and late events need no mending.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from opportune.domain.events import Event, Origin
from opportune.playbook.load import Playbook
from opportune.playbook.triggers import Trigger
from opportune.ports import Interest
from opportune.triggers.marks import env_of, keys_of

#: What shows interest in an item, unless the trigger says otherwise.
LOOKING = ("Product Viewed", "Product Clicked", "Product Added", "Product Added to Wishlist")
#: Ends the interest in the items it holds, and shows liking for their categories.
BOUGHT = "Order Completed"
_FIELDS = {"i": "product_id", "c": "category"}
_NOTHING: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Signal:
    """An event that shows interest. `key`: where its subject stands; null: `product_id` (or `category`), in the event
    itself and in its list of products. `kind`: `i` about items, `c` about categories."""

    kind: str
    event: str
    when: str | None = None
    key: str | None = None

    @property
    def name(self) -> str:
        """What rows of this signal are called."""
        return " | ".join(part for part in (self.event, self.key, self.when) if part)


def signals_of(trigger: Trigger) -> tuple[Signal, ...]:
    """What shows the interest a catalogue trigger speaks to."""
    kind = "c" if trigger.change == "new_arrival" else "i"
    if trigger.interest:
        return tuple(Signal(kind, on.event, on.when, on.key) for on in trigger.interest)
    return tuple(Signal(kind, event) for event in ((*LOOKING, BOUGHT) if kind == "c" else LOOKING))


def all_signals(playbook: Playbook) -> tuple[Signal, ...]:
    """Everything worth noting for this playbook, the end of interest in items included; empty: nothing."""
    triggers = [t for t in playbook.spec.triggers.values() if t.kind == "catalogue"]
    wanted = {signal for trigger in triggers for signal in signals_of(trigger)}
    if any(t.change != "new_arrival" for t in triggers):
        wanted.add(Signal("i", BOUGHT))
    return tuple(sorted(wanted, key=lambda s: (s.kind, s.name)))


def longest_wanted(playbook: Playbook) -> timedelta | None:
    """How old interest may be and still matter to a change that may still be told; null: no catalogue trigger."""
    triggers = [t for t in playbook.spec.triggers.values() if t.kind == "catalogue"]
    return max((t.within + t.delay + t.expires_after for t in triggers), default=None)


def noted(events: Iterable[Event], signals: Sequence[Signal], playbook: Playbook) -> list[Interest]:
    """The rows these events give, imported ones too: history is interest."""
    by_event: dict[str, list[Signal]] = {}
    for signal in signals:
        by_event.setdefault(signal.event, []).append(signal)
    rows = []
    for event in events:
        if event.origin is Origin.OWN:
            continue
        for signal in by_event.get(event.name, ()):
            if signal.when is not None and not playbook.holds(signal.when, env_of(event, _NOTHING)):
                continue
            for subject in _subjects(event, signal):
                rows.append(Interest(f"{signal.kind}:{subject}", event.id_key, signal.name, event.event_at))
    return rows


def _subjects(event: Event, signal: Signal) -> list[str]:
    if signal.key is not None:
        return keys_of(event, signal.key)
    return things_in(event, _FIELDS[signal.kind])


def things_in(event: Event, field: str) -> list[str]:
    """Values of a field of the event's product or products, each once."""
    found = (*keys_of(event, f"properties.{field}"), *keys_of(event, f"properties.products.{field}"))
    return list(dict.fromkeys(found))


def is_interested(rows: Iterable[Interest], trigger: Trigger, at: datetime) -> bool:
    """Whether one customer's rows on one subject show live interest at `at`: a signal of the trigger within its time,
    and no purchase of the item since."""
    names = {signal.name for signal in signals_of(trigger)}
    showing = [row.last_at for row in rows if row.name in names]
    if not showing or max(showing) <= at - trigger.within:
        return False
    if trigger.change == "new_arrival":
        return True
    return max(showing) > max((row.last_at for row in rows if row.name == BOUGHT), default=at - trigger.within)


def since(trigger: Trigger, at: datetime) -> datetime:
    """The first instant at which a signal still counts at `at`."""
    return at - trigger.within + timedelta(microseconds=1)
