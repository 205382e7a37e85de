"""A message leaves: claim what is due, ask consent, caps and cancellation again, hand over, commit the send."""

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from opportune.decision.handoff import recheck
from opportune.domain.customers import Consent, ConsentState, Customer
from opportune.domain.decisions import Reason
from opportune.domain.journeys import PREFIX as JOURNEY
from opportune.domain.messages import Outcome, OutcomeKind, Send, SendState
from opportune.flows.accounts import AccountLogs, are_counted, locks_of, note
from opportune.flows.consent import changed_event
from opportune.flows.desk import horizon_start
from opportune.flows.recheck_news import outdated
from opportune.flows.rouse import rouse
from opportune.flows.sent import append_own, commit_sent, own_event
from opportune.playbook.load import Playbook
from opportune.playbook.vary import overridden
from opportune.ports import Clock, Courier, Ledger, LockLost, OutboxItem, Unavailable, UnitOfWork

LEASE = timedelta(seconds=60)
#: How often identities may change between reading and locking before we give up for now.
ATTEMPTS = 5
RETRY_S = (5, 30, 120, 300, 900, 1800)


@dataclass(frozen=True, slots=True)
class DeliverReport:
    """What one round did, in messages."""

    n_claimed: int
    n_sent: int
    n_released: int
    n_moved: int
    n_retried: int


def deliver(ledger: Ledger, playbook: Playbook, courier: Courier, clock: Clock, limit: int = 100) -> DeliverReport:
    """Hand over up to `limit` due messages. At least once, always under the same message id."""
    now = clock.now()
    with ledger.begin() as uow:
        items = uow.outbox.claim("deliver", now, limit, now + LEASE)
    if not items:
        return DeliverReport(0, 0, 0, 0, 0)
    with holding([i.key for i in items], ledger) as (uow, _):
        go, released, moved = ask_again([i.key for i in items], now, playbook, uow)
        finished = set(released) | {
            i.key for i in items if i.key not in moved and i.key not in {s.message_id for s in go}
        }
        uow.outbox.done([i for i in items if i.key in finished])
        for item in items:
            if item.key in moved:
                uow.outbox.retry([item], moved[item.key])
    left = [i for i in items if i.key in {s.message_id for s in go}]
    try:
        courier.deliver(go, now)
    except Unavailable:
        with ledger.begin() as uow:
            for item in left:
                pause = RETRY_S[min(item.attempts, len(RETRY_S) - 1)]
                uow.outbox.retry([item], now + timedelta(seconds=pause))
        return DeliverReport(len(items), 0, len(released), len(moved), len(left))
    with holding([s.message_id for s in go], ledger) as (uow, sends):
        commit_sent([s for s in sends.values() if s.state is not SendState.SENT], now, now, uow)
        uow.outbox.done(left)
    return DeliverReport(len(items), len(go), len(released), len(moved), 0)


@contextmanager
def holding(message_ids: Collection[str], ledger: Ledger) -> Iterator[tuple[UnitOfWork, dict[str, Send]]]:
    """A writing transaction that holds the locks of whoever these messages belong to NOW and of their accounts, and the
    sends in it.

    Between reading whose they are and holding the lock, or while a courier is at work, customers may be merged: then
    once more. Raises LockLost when that never ends.
    """
    for _ in range(ATTEMPTS):
        with ledger.read() as uow:
            known = uow.sends.get(message_ids).values()
        owners, locks = {s.customer_id for s in known}, locks_of(s.account_id for s in known)
        with ledger.begin([*sorted(owners), *locks]) as uow:
            sends = uow.sends.get(message_ids)
            if {s.customer_id for s in sends.values()} <= owners:
                yield uow, sends
                return
    raise LockLost("the identities of these customers keep changing: try again")


def ask_again(
    message_ids: Sequence[str], now: datetime, playbook: Playbook, uow: UnitOfWork
) -> tuple[list[Send], dict[str, Reason], dict[str, datetime]]:
    """Under the locks: which sends go now, which are released and why, which are placed anew and when."""
    sends = uow.sends.get(message_ids)
    ids = sorted({s.customer_id for s in sends.values()})
    customers, consents = uow.customers.get(ids), uow.consents.of(ids)
    logs = uow.sends.log(ids, horizon_start(now, playbook))
    account_logs: AccountLogs = {}
    if are_counted(playbook):
        within = {s.account_id for s in sends.values() if s.account_id is not None}
        account_logs = uow.sends.log_of_accounts(within, horizon_start(now, playbook)) if within else {}
    go: list[Send] = []
    released: dict[str, Reason] = {}
    moved: dict[str, datetime] = {}
    untrue = outdated([s for s in sends.values() if s.state is SendState.RESERVED], playbook, uow)
    for message_id in message_ids:
        send = sends.get(message_id)
        if send is None or send.state is not SendState.RESERVED:
            continue
        who = customers.get(send.customer_id) or Customer(customer_id=send.customer_id)
        others = [s for s in logs.get(send.customer_id, ()) if s.message_id != message_id]
        mine = overridden(playbook, send.payload.get("assignments", {}))  # as it was decided, if it still runs
        account = [s for s in account_logs.get(send.account_id or "", ()) if s.message_id != message_id]
        verdict = (
            Reason.CANCELLED
            if message_id in untrue
            else recheck(send, now, who, consents.get(send.customer_id, ()), others, mine, account)
        )
        if isinstance(verdict, Reason):
            uow.sends.move(message_id, SendState.RELEASED, now, verdict)
            released[message_id] = verdict
            kept = []
        elif verdict > now:
            uow.sends.replace(message_id, verdict, now)
            moved[message_id] = verdict
            kept = [replace(send, send_at=verdict)]
        else:
            go.append(send)
            kept = [replace(send, send_at=now)]
        logs[send.customer_id] = [*others, *kept]
        if send.account_id is not None:
            account_logs[send.account_id] = account
            note(kept, account_logs)
    # The locks are let go while the courier is at work: whoever decides meanwhile counts these where they really are.
    uow.sends.leave([s.message_id for s in go], now)
    return go, released, moved


#: status word -> the event that joins the customer's log for e-mail, as the e-mail specification names it.
EMAIL_EVENTS = {
    OutcomeKind.DELIVERED: "Email Delivered",
    OutcomeKind.OPENED: "Email Opened",
    OutcomeKind.CLICKED: "Email Link Clicked",
    OutcomeKind.BOUNCED: "Email Bounced",
    OutcomeKind.COMPLAINED: "Email Marked as Spam",
}
SUPPRESSING: Mapping[OutcomeKind, str] = {OutcomeKind.BOUNCED: "hard_bounce", OutcomeKind.COMPLAINED: "complaint"}


def report_status(
    message_id: str, status: str, at: datetime | None, reason: str | None, ledger: Ledger, clock: Clock
) -> Send:
    """What became of a message, told by its caller. Returns the send after it. The same status again changes nothing.

    Raises KeyError for an unknown message. `not_sent` releases the reservation; a late `sent` takes it back.
    """
    now = clock.now()
    with holding([message_id], ledger) as (uow, sends):
        send = sends[message_id]
        # Never before it was reserved: a wrong clock must not move a send out of the windows of its caps.
        when = max(min(at, now), send.reserved_at) if at is not None else now
        if status == "sent":
            if send.state is not SendState.SENT:
                commit_sent([send], when, now, uow)
        elif status == "not_sent":
            if send.state is SendState.RESERVED:
                uow.sends.move(message_id, SendState.RELEASED, when, Reason.CALLER_DECLINED)
        else:
            record_outcome(send, OutcomeKind(status), when, now, reason, uow)
        uow.outbox.put([OutboxItem(topic="project", key=send.customer_id, available_at=now)])
        return uow.sends.get([message_id])[message_id]


def record_outcome(
    send: Send, kind: OutcomeKind, at: datetime, now: datetime, reason: str | None, uow: UnitOfWork
) -> None:
    """Keep one outcome; e-mail outcomes join the customer's log; bounces and complaints close the channel."""
    digest = hashlib.sha256(f"{send.message_id}|{kind}|{at.isoformat()}".encode()).hexdigest()[:24]
    outcome_id = f"status:{digest}"
    uow.outcomes.add(
        [
            Outcome(
                outcome_id=outcome_id,
                message_id=send.message_id,
                customer_id=send.customer_id,
                kind=kind,
                at=at,
                recorded_at=now,
                properties={"reason": reason} if reason else {},
            )
        ]
    )
    closes = kind in SUPPRESSING and reason != "soft"
    if closes or send.trigger.startswith(JOURNEY):
        rouse([send.customer_id], uow, now, lambda one: closes or send.message_id in one.message_ids)
    if send.channel == "email" and kind in EMAIL_EVENTS:
        told = own_event(outcome_id, EMAIL_EVENTS[kind], send, at, now)
        if reason == "soft":  # read by features as it is here: a passing bounce closes nothing
            told = replace(told, properties={**told.properties, "bounce_type": "soft"})
        append_own([told], [send.customer_id], now, uow)
    if closes:
        line = Consent(
            consent_id=outcome_id,
            customer_id=send.customer_id,
            channel=send.channel,
            topic="*",
            state=ConsentState.OUT,
            at=at,
            source=SUPPRESSING[kind],
            recorded_at=now,
            proof={"message_id": send.message_id, "reason": reason},
        )
        uow.consents.add([line])
        if send.channel != "email":  # of e-mail the outcome itself is in the log
            append_own([changed_event(line, now)], [send.customer_id], now, uow)
