"""Campaigns keep a record: each message is counted once, when its goal's horizon has passed, with what came of it."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from opportune.decision.record import decision_from_json
from opportune.domain.evidence import CampaignRecord
from opportune.domain.messages import Outcome, OutcomeKind, Send
from opportune.experiments.attribute import Hit, hits_of
from opportune.experiments.metrics import is_gone
from opportune.flows.around import learning_campaigns
from opportune.playbook.load import Playbook
from opportune.ports import Clock, Ledger, UnitOfWork

TALLY_CURSOR = "tally"
_LEASE = timedelta(minutes=1)
_LOSSES = (OutcomeKind.UNSUBSCRIBED, OutcomeKind.COMPLAINED)


def tally(ledger: Ledger, playbook: Playbook, clock: Clock, owner: str, page: int = 500) -> int:
    """Add a page of matured decisions to the records of their campaigns; how many decisions that were.

    A decision has matured when the longest expiry of a campaign and then the longest horizon of a goal have passed
    since. Nothing is done while no campaign learns from its record.
    """
    if not learning_campaigns(playbook):
        return 0
    now = clock.now()
    ripe_until = now - _ripening(playbook)
    with ledger.begin() as uow:
        if not uow.cursors.lease(TALLY_CURSOR, owner, now, now + _LEASE):
            return 0
        cursor = uow.cursors.get(TALLY_CURSOR) or ""
        rows, following = uow.decisions.after(cursor, page)
        n_ripe = next((n for n, row in enumerate(rows) if row.decided_at > ripe_until), len(rows))
        if 0 < n_ripe < len(rows):
            rows, following = uow.decisions.after(cursor, n_ripe)
        if not n_ripe:
            return 0
        ids = [m.message_id for row in rows if row.n_messages for m in decision_from_json(row.decision).messages]
        uow.records.add(_records(ids, now, playbook, uow))
        uow.cursors.put(TALLY_CURSOR, following)
    return len(rows)


def _ripening(playbook: Playbook) -> timedelta:
    spec, none = playbook.spec, timedelta(0)
    expiry = max((c.expires_after for c in spec.campaigns.values()), default=none)
    return expiry + max((g.horizon for g in spec.goals.values()), default=none)


def _records(message_ids: Sequence[str], now: datetime, playbook: Playbook, uow: UnitOfWork) -> list[CampaignRecord]:
    sends = uow.sends.get(message_ids) if message_ids else {}
    if not sends:
        return []
    outcomes = uow.outcomes.of(sends)
    goals = playbook.spec.goals
    customers = {s.customer_id for s in sends.values()}
    first_at = min(s.send_at for s in sends.values())
    named = uow.events.named(customers, {goal.event for goal in goals.values()}, first_at)
    hits = {c: hits_of(events, goals, playbook) for c, events in named.items()}
    return [
        record_of(send, outcomes.get(send.message_id, ()), hits.get(send.customer_id, ()), now, playbook)
        for send in sends.values()
    ]


def record_of(
    send: Send, outcomes: Sequence[Outcome], hits: Sequence[Hit], now: datetime, playbook: Playbook
) -> CampaignRecord:
    """What one message adds. Withheld ones are counted by the same rule; those that never went count nothing."""
    campaign = playbook.spec.campaigns.get(send.campaign)
    goal = campaign.goal if campaign is not None else None
    is_reached = goal is not None and any(
        hit.goal == goal and send.send_at < hit.at <= send.send_at + playbook.spec.goals[goal].horizon for hit in hits
    )
    if send.is_virtual:
        return CampaignRecord(campaign=send.campaign, n_held=1, n_held_reached=int(is_reached))
    if not is_gone(send, now):
        return CampaignRecord(campaign=send.campaign)
    is_lost = any(o.kind in _LOSSES for o in outcomes)
    return CampaignRecord(campaign=send.campaign, n_sent=1, n_reached=int(is_reached), n_lost=int(is_lost))
