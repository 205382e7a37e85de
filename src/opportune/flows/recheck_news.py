"""News of the catalogue is asked about again when it fires and when it leaves: is it still true, is it still wanted?"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from opportune.domain.decisions import Ask
from opportune.domain.events import Event
from opportune.domain.items import Item, ItemChange
from opportune.domain.messages import Send, SendState
from opportune.domain.timers import Timer
from opportune.playbook.load import Playbook
from opportune.playbook.triggers import Trigger
from opportune.ports import UnitOfWork
from opportune.triggers.interest import BOUGHT, Signal, is_interested, noted, signals_of, things_in
from opportune.triggers.news import payload_now

_DAY = timedelta(days=1)
_LOOKED_AT = 50
_SKEW = timedelta(minutes=1)


def still_news(timers: Sequence[Timer], playbook: Playbook, uow: UnitOfWork) -> tuple[list[Timer], list[Timer]]:
    """(timers with their item as it is now, those whose news is no longer true or wanted). Timers of other kinds pass
    as they are. An order of the item ends the interest, whenever it was ingested."""
    triggers = {t.rule: trigger for t in timers if (trigger := catalogue_trigger(t.rule, playbook)) is not None}
    mine = [t for t in timers if t.rule in triggers]
    if not mine:
        return list(timers), []
    items = uow.items.get({t.key for t in mine})
    events = _events_of(mine, triggers, uow)
    fresh, gone = [], []
    for timer in timers:
        trigger = triggers.get(timer.rule)
        if trigger is None:
            fresh.append(timer)
            continue
        payload = payload_now(timer.payload, items.get(timer.key), trigger)
        if payload is None or not _is_wanted(timer, trigger, events.get(timer.customer_id, ()), playbook):
            gone.append(timer)
        else:
            fresh.append(replace(timer, payload=payload))
    return fresh, gone


def catalogue_trigger(rule: str, playbook: Playbook) -> Trigger | None:
    """The trigger of that name when it is about the catalogue; else null."""
    trigger = playbook.spec.triggers.get(rule)
    return trigger if trigger is not None and trigger.kind == "catalogue" else None


def _events_of(
    timers: Sequence[Timer], triggers: Mapping[str, Trigger], uow: UnitOfWork
) -> Mapping[str, Sequence[Event]]:
    names = {signal.event for trigger in triggers.values() for signal in signals_of(trigger)} | {BOUGHT}
    since = min(timer.set_at - triggers[timer.rule].within for timer in timers) - _DAY
    return uow.events.named({timer.customer_id for timer in timers}, names, since)


def _is_wanted(timer: Timer, trigger: Trigger, events: Sequence[Event], playbook: Playbook) -> bool:
    if trigger.change == "new_arrival":
        bought = (e for e in events if e.name == BOUGHT and e.event_at >= timer.set_at)
        return not any(timer.key in things_in(e, "product_id") for e in bought)
    rows = noted(events, (*signals_of(trigger), Signal("i", BOUGHT)), playbook)
    return is_interested([row for row in rows if row.subject == f"i:{timer.key}"], trigger, timer.set_at)


def earlier_news(ask: Ask, sends: Sequence[Send], playbook: Playbook, now: datetime) -> list[Send]:
    """News of the same item and trigger that still waits for its hour: what a newer firing replaces when it speaks.
    `now`: read under the customer's lock."""
    if ask.firing is None or catalogue_trigger(ask.firing.trigger, playbook) is None:
        return []
    place = (ask.firing.trigger, ask.firing.key)
    # What is due may be in a courier's hands already, by a clock that is a little ahead of ours.
    return [
        s
        for s in sends
        if s.state is SendState.RESERVED and (s.trigger, s.trigger_key) == place and now + _SKEW < s.send_at
    ]


def outdated(sends: Sequence[Send], playbook: Playbook, uow: UnitOfWork) -> set[str]:
    """Message ids of reserved news that is no longer true or wanted: dearer than when it was written, no longer to be
    had, or bought meanwhile."""
    mine = [s for s in sends if s.trigger_key is not None and catalogue_trigger(s.trigger, playbook) is not None]
    if not mine:
        return set()
    items = uow.items.get({str(s.trigger_key) for s in mine})
    changes = {item_id: uow.items.changes_of(item_id, _LOOKED_AT) for item_id in items}
    found = _bought(mine, playbook, uow)
    for send in mine:
        trigger, key = playbook.spec.triggers[send.trigger], str(send.trigger_key)
        later = [c for c in changes.get(key, ()) if c.recorded_at > send.reserved_at]
        if later and not _holds(items.get(key), later[-1], trigger):
            found.add(send.message_id)
    return found


def _bought(sends: Sequence[Send], playbook: Playbook, uow: UnitOfWork) -> set[str]:
    """Message ids of news about items that were bought since the customer last showed interest."""
    triggers = {s.trigger: playbook.spec.triggers[s.trigger] for s in sends}
    since = min(s.reserved_at - triggers[s.trigger].within for s in sends) - _DAY
    orders = uow.events.named({s.customer_id for s in sends}, [BOUGHT], since)
    asked = [
        s for s in sends if any(str(s.trigger_key) in things_in(e, "product_id") for e in orders.get(s.customer_id, ()))
    ]
    if not asked:
        return set()
    names = {signal.event for s in asked for signal in signals_of(triggers[s.trigger])} | {BOUGHT}
    events = uow.events.named({s.customer_id for s in asked}, names, since)
    return {s.message_id for s in asked if _is_bought(s, triggers[s.trigger], events[s.customer_id], playbook)}


def _is_bought(send: Send, trigger: Trigger, events: Sequence[Event], playbook: Playbook) -> bool:
    if trigger.change == "new_arrival":
        return True
    names = {signal.name for signal in signals_of(trigger)}
    rows = noted(events, (*signals_of(trigger), Signal("i", BOUGHT)), playbook)
    mine = [row for row in rows if row.subject == f"i:{send.trigger_key}"]
    bought_at = max(row.last_at for row in mine if row.name == BOUGHT)
    return bought_at >= max((row.last_at for row in mine if row.name in names), default=bought_at)


def _holds(item: Item | None, first: ItemChange, trigger: Trigger) -> bool:
    """Whether words written before `first` (the first change since) are true of the item."""
    if item is None or not item.is_available:
        return False
    if trigger.change == "low_stock":
        return item.stock is not None and item.stock <= trigger.at_most
    promised = first.old_price_minor
    return promised is None or (item.price_minor is not None and item.price_minor <= promised)
