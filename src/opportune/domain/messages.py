"""Messages and sends: what we said or booked to say, and what came of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


class SendState(StrEnum):
    """Life of a send. RESERVED and SENT count against caps (silence counts as sent at `send_at`); RELEASED does not."""

    RESERVED = "reserved"
    SENT = "sent"
    RELEASED = "released"


class Deliver(StrEnum):
    """Who hands the message to its channel."""

    CALLER = "caller"
    SERVICE = "service"


@dataclass(frozen=True, slots=True, kw_only=True)
class Send:
    """A message reserved or handed off. One row each; its history is append-only beside it.

    `send_at` is the booked instant (becomes the real one when sent). `tags` are those at the time of the send.
    `is_virtual`: withheld by a holdout, counted as if it had gone. `counts`: counts toward caps.
    """

    message_id: str
    customer_id: str
    decision_id: str
    rank: int
    campaign: str
    trigger: str
    channel: str
    topic: str
    purpose: str
    variant: str | None
    tags: tuple[str, ...]
    state: SendState
    deliver: Deliver
    send_at: datetime
    expires_at: datetime
    reserved_at: datetime
    obeys_caps: bool = True
    counts: bool = True
    is_virtual: bool = False
    #: subject, body, cta, headers, value_minor, trigger key...: all a courier needs.
    payload: Mapping[str, Any] = field(default_factory=dict)
    #: key of the trigger instance (cart id, order id); cancels the send when `unless` arrives before hand-off.
    trigger_key: str | None = None
    handed_off_at: datetime | None = None
    #: the account the customer belonged to when this was decided: account caps count by it; null: none.
    account_id: str | None = None
    #: a courier was given it at this instant: until it is known whether it went, it counts there.
    leaving_at: datetime | None = None

    @property
    def counts_at(self) -> datetime:
        """The instant at which caps count it: the real one, else the booked one, or that of the attempt to send it."""
        if self.leaving_at is None or self.state is SendState.SENT:
            return self.send_at
        return max(self.send_at, self.leaving_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountSend:
    """A send as the caps of its account see it: everything but who heard it and what was said. Only those that count
    and are not released. `send_at` is the instant at which caps count it."""

    message_id: str
    account_id: str
    send_at: datetime
    reserved_at: datetime
    state: SendState
    deliver: Deliver
    campaign: str
    channel: str
    topic: str
    purpose: str
    tags: tuple[str, ...]


def as_account_send(send: Send) -> AccountSend:
    """What the caps of its account see of a send that has one."""
    assert send.account_id is not None
    return AccountSend(
        message_id=send.message_id,
        account_id=send.account_id,
        send_at=send.counts_at,
        reserved_at=send.reserved_at,
        state=send.state,
        deliver=send.deliver,
        campaign=send.campaign,
        channel=send.channel,
        topic=send.topic,
        purpose=send.purpose,
        tags=send.tags,
    )


class OutcomeKind(StrEnum):
    """What came of a message."""

    DELIVERED = "delivered"
    OPENED = "opened"
    CLICKED = "clicked"
    SHOWN = "shown"
    DISMISSED = "dismissed"
    BOUNCED = "bounced"
    COMPLAINED = "complained"
    UNSUBSCRIBED = "unsubscribed"
    CONVERTED = "converted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One outcome of one message. Unique by `outcome_id` (the envelope's message id, or a status call's)."""

    outcome_id: str
    message_id: str
    customer_id: str
    kind: OutcomeKind
    at: datetime
    recorded_at: datetime
    is_machine: bool = False
    properties: Mapping[str, Any] = field(default_factory=dict)
