"""A send is committed: it joins the customer's own event log, and so their features, in the same transaction."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from opportune.domain.events import Event, EventKind, Origin
from opportune.domain.messages import Send, SendState
from opportune.domain.states import StateRow
from opportune.features.state import State, empty, pack, update
from opportune.flows.spend import take_late
from opportune.flows.states import ledger_states
from opportune.ports import OutboxItem, UnitOfWork

_TICK = timedelta(microseconds=1)
#: Handed off further than this from its slot, a message did not go in the hour that was drawn for it.
ON_TIME = timedelta(minutes=30)


def commit_sent(sends: Sequence[Send], at: datetime, now: datetime, uow: UnitOfWork) -> None:
    """Mark sends as sent at `at`, log a `Message Sent` event for each, and update feature state. Locks are held.

    `now`, when it was reported, is when the event counts as known: what was true as of any earlier instant stays so.
    """
    for send in sends:
        uow.sends.move(send.message_id, SendState.SENT, at)
    take_late([send for send in sends if send.state is SendState.RELEASED], at, uow)
    append_own([sent_event(s, at, now) for s in sends], [s.customer_id for s in sends], now, uow)


def append_own(events: Sequence[Event], customer_ids: Sequence[str], now: datetime, uow: UnitOfWork) -> None:
    """Append events of our own making, one per customer id given beside it, and update state and projection."""
    ids = sorted(set(customer_ids))
    states, _ = ledger_states(ids, uow)  # before the append: a rebuild must not hear these events twice
    new = uow.events.append(list(zip(events, customer_ids, strict=True)))
    by_customer: dict[str, list[Event]] = {}
    for event, customer_id in zip(events, customer_ids, strict=True):
        if event.message_id in new:
            by_customer.setdefault(customer_id, []).append(event)
    rows, ids = uow.states.get(ids), sorted(by_customer)
    if not ids:
        return
    uow.states.put([next_row(c, rows.get(c), states.get(c), by_customer[c], now) for c in ids])
    uow.outbox.put([OutboxItem(topic="project", key=c, available_at=now) for c in ids])


def next_row(
    customer_id: str, row: StateRow | None, state: State | None, fresh: Sequence[Event], now: datetime
) -> StateRow:
    """The state row after these events: version + 1, a commit instant later than the one before."""
    return StateRow(
        customer_id=customer_id,
        version=row.version + 1 if row else 1,
        state=pack(update(state or empty(), fresh)),
        committed_at=max(now, row.committed_at + _TICK) if row else now,
    )


def sent_event(send: Send, at: datetime, now: datetime) -> Event:
    """`Message Sent`, unique per message, in the customer's own log, with the probability its hour was drawn with."""
    event = own_event(f"sent:{send.message_id}", "Message Sent", send, at, now)
    drawn = send.payload.get("slot_probability")
    if drawn is None or abs(at - send.send_at) > ON_TIME:  # another hour than the one chance chose
        return event
    return replace(event, properties={**event.properties, "slot_probability": drawn})


def own_event(message_id: str, name: str, send: Send, at: datetime, now: datetime) -> Event:
    """An event Opportune itself adds about one of its messages: it happened at `at` and is known from `now` on."""
    anonymous = send.customer_id.removeprefix("anon:") if send.customer_id.startswith("anon:") else None
    return Event(
        message_id=message_id,
        kind=EventKind.TRACK,
        name=name,
        user_id=None if anonymous is not None else send.customer_id,
        anonymous_id=anonymous,
        original_at=at,
        sent_at=at,
        received_at=now,
        event_at=at,
        known_at=now,
        ingested_at=now,
        origin=Origin.OWN,
        properties={
            "message_id": send.message_id,
            "campaign": send.campaign,
            "channel": send.channel,
            "purpose": send.purpose,
        },
    )
