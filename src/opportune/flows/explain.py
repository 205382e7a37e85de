"""Why did she get this, why did he not? For stored decisions, and for any customer, campaign and past moment.

Everything is read-only: nothing is reserved, stored or logged. What-if: events and traits may be assumed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import orjson

from opportune.decision import record
from opportune.decision.pipeline import decide as choose
from opportune.decision.remedy import Remedies, remedies
from opportune.domain.decisions import Ask, Case, Decision, Firing
from opportune.domain.events import Event
from opportune.domain.traits import fold
from opportune.flows.accounts import log_of
from opportune.flows.decide import case_of_past
from opportune.flows.desk import Desk
from opportune.flows.links import linked_decision
from opportune.flows.past import Past, logs_then, past_of
from opportune.flows.withdraw import suppressions_of
from opportune.playbook.load import Playbook, from_source
from opportune.ports import Ledger, UnitOfWork
from opportune.triggers.marks import is_meant, key_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumed:
    """What did not happen but is asked about: `events` join the log, `traits` are set on top."""

    events: Sequence[Event] = ()
    traits: Mapping[str, Any] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.events or self.traits)


def explain_stored(decision_id: str, ledger: Ledger, secret: bytes | None = None) -> dict[str, Any] | None:
    """A stored decision with its case, its draws and, for each campaign not sent, what would have sent it. With the
    `secret` its messages carry the links they were answered with.

    Null when there is no such decision; `remedies` is empty when its playbook is no longer in the ledger.
    """
    with ledger.read() as uow:
        row = uow.decisions.get(decision_id)
        source = uow.playbooks.get(row.playbook_hash) if row else None
    if row is None:
        return None
    decision = record.decision_from_json(row.decision)
    answer = record.decision_to_dict(decision if secret is None else linked_decision(decision, secret))
    answer["case"] = orjson.loads(row.case)
    answer["draws"] = orjson.loads(row.decision).get("draws", [])
    case = record.case_from_json(row.case)
    answer["remedies"] = [] if source is None else _all_remedies(case, decision, from_source(source))
    return answer


def explain_moment(
    customer_id: str,
    campaign: str,
    at: datetime,
    desk: Desk,
    *,
    channel: str | None = None,
    context: Mapping[str, Any] | None = None,
    assumed: Assumed | None = None,
) -> dict[str, Any]:
    """Would `campaign` have gone to the customer at `at`, from what was known then, and if not: what was in the way?

    The campaign is decided alone, as its trigger would have it; its newest matching event by then is what fired.
    With `assumed` the answer has `as_it_was` beside it. Raises LookupError for a campaign or channel the playbook does
    not have.
    """
    spec = desk.playbook.spec.campaigns.get(campaign)
    if spec is None:
        known = ", ".join(sorted(desk.playbook.spec.campaigns))
        raise LookupError(f"campaign: the playbook has no campaign '{campaign}'; it has: {known}")
    if channel is not None and channel not in spec.channels:
        raise LookupError(f"channel: {campaign} does not speak by {channel}, but by {', '.join(spec.channels)}")
    with desk.ledger.read() as uow:
        past = past_of(customer_id, at, desk.playbook, uow)
        other = _otherwise(past, assumed, at, desk.playbook, uow) if assumed else past
    plain = _told(past, campaign, channel, at, desk, context)
    if not assumed:
        return plain
    return {**_told(other, campaign, channel, at, desk, context), "as_it_was": plain}


def _otherwise(past: Past, assumed: Assumed, at: datetime, playbook: Playbook, uow: UnitOfWork) -> Past:
    """The past as it would have been: lists and the account are asked again, because traits may name others."""
    events = sorted((*past.events, *assumed.events), key=lambda e: (e.event_at, e.message_id))
    customer = fold(past.customer, assumed.events)
    customer = replace(customer, traits={**customer.traits, **assumed.traits})
    listed = suppressions_of([customer], uow, at)[customer.customer_id]
    account = tuple(log_of(customer, logs_then([customer], at, playbook, uow)))
    return replace(past, customer=customer, events=tuple(events), suppressions=listed, account_sends=account)


def _told(
    past: Past, campaign: str, channel: str | None, at: datetime, desk: Desk, context: Mapping[str, Any] | None
) -> dict[str, Any]:
    playbook = desk.playbook
    firing = firing_of(past.events, campaign, at, past.customer.traits, playbook)
    ask = Ask(
        customer_id=past.customer.customer_id,
        at=at,
        trigger=playbook.spec.campaigns[campaign].trigger,
        context=dict(context or {}),
        dry_run=True,
        explain=True,
        firing=firing,
    )
    case = replace(case_of_past(replace(ask, firing=None), past, at, desk), ask=ask)
    decision = choose(case, playbook)
    found = remedies(case, playbook, campaign, channel)
    answer = record.decision_to_dict(decision)
    answer["campaign"] = campaign
    answer["triggered"] = _triggered(firing, campaign, playbook)
    answer["remedies"] = [remedies_to_dict(found)]
    answer["features"] = dict(case.features)
    return answer


def firing_of(
    events: Sequence[Event], campaign: str, at: datetime, traits: Mapping[str, Any], playbook: Playbook
) -> Firing | None:
    """What would have fired the campaign's trigger: its newest starting event by then; null when there is none."""
    name = playbook.spec.campaigns[campaign].trigger
    if name is None:
        return None
    trigger = playbook.spec.triggers[name]
    meant = [(e, on) for e in events for on in trigger.steps or trigger.on if is_meant(on, e, traits, playbook.holds)]
    if not meant:
        return None
    newest, on = meant[-1]
    return Firing(
        trigger=name,
        key=key_of(newest, on.key) or "",
        due_at=at,
        set_by=newest.message_id,
        version=0,
        properties=newest.properties,
    )


def _triggered(firing: Firing | None, campaign: str, playbook: Playbook) -> str:
    """In words, what there was to fire it."""
    name = playbook.spec.campaigns[campaign].trigger
    if name is None:
        return "a step of a journey; told as if it had come to it"
    trigger = playbook.spec.triggers[name]
    if firing is not None:
        return f"{name}: by {firing.set_by}"
    if trigger.kind == "request":
        return f"{name}: by a request"
    heard = " or ".join(on.event for on in trigger.steps or trigger.on)
    what = f"no {heard} was known by then" if heard else "it fires by itself"
    return f"{name}: {what}; the rest is told as if it had fired"


def _all_remedies(case: Case, decision: Decision, playbook: Playbook) -> list[dict[str, Any]]:
    """One per campaign and channel that was removed; a campaign that left the playbook has none."""
    sent = {m.campaign for m in decision.messages if not m.is_virtual}
    pairs = dict.fromkeys((r.campaign, r.channel) for r in decision.removed if r.campaign not in sent)
    return [remedies_to_dict(remedies(case, playbook, c, ch)) for c, ch in pairs if c in playbook.spec.campaigns]


def remedies_to_dict(found: Remedies) -> dict[str, Any]:
    """Remedies in the shape of the API."""
    return {
        "campaign": found.campaign,
        "channel": found.channel,
        "would_be_sent": found.is_reached,
        "text": found.text,
        "changes": [
            {"reason": r.reason.value, "rule": r.rule, "text": r.text, "values": [dict(c) for c in r.change]}
            for r in found.remedies
        ],
    }


def moment_in_words(answer: Mapping[str, Any]) -> str:
    """An explanation of a moment as a few lines."""
    campaign = answer["campaign"]
    mine = [m for m in answer["messages"] if m["campaign"] == campaign]
    lines = [f"{campaign} for {answer['customer_id']} at {answer['decided_at']}", f"  trigger {answer['triggered']}"]
    for m in mine:
        lines.append(f"  SENT by {m['channel']} at {m['send_at']}: {'; '.join(m['reasons'])}")
    for r in answer["removed"]:
        if r["campaign"] == campaign:
            detail = ", ".join(f"{k} {v}" for k, v in r["detail"].items())
            rule = f" [{r['rule']}]" if r.get("rule") else ""
            lines.append(f"  not by {r['channel']}: {r['stage']}: {r['reason']}{rule} {detail}".rstrip())
    lines += [f"  {one['text']}" for one in answer["remedies"] if not mine or one["changes"]]
    if "as_it_was" in answer:
        lines += ["As it was:", *(f"  {line}" for line in moment_in_words(answer["as_it_was"]).splitlines()[1:])]
    return "\n".join(lines)
