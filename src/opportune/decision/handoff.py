"""The moment of hand-off: what was decided earlier is asked again, with what is known now."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from opportune.decision.caps import Book, CapRule
from opportune.decision.consent import Standing, has_address
from opportune.decision.rules import rules_of
from opportune.decision.slots import Blocked, earliest_slot
from opportune.decision.zones import calendar_zone, zones_of
from opportune.domain.customers import Consent, Customer
from opportune.domain.decisions import Reason
from opportune.domain.instants import from_us, to_us
from opportune.domain.journeys import PREFIX
from opportune.domain.messages import AccountSend, Deliver, Send, SendState
from opportune.playbook.load import Playbook


def recheck(
    send: Send,
    now: datetime,
    customer: Customer,
    consents: Sequence[Consent],
    others: Sequence[Send],
    playbook: Playbook,
    account: Sequence[AccountSend] = (),
) -> datetime | Reason:
    """When a reserved message may leave: `now`, a later instant when it must be placed anew, or the reason to
    release it. `others`: the customer's sends without this one; `account`: those of its account, without it too.

    Expiry, address, suppression, consent, quiet hours and caps are all asked again at the very instant. A campaign that
    has left the playbook keeps quiet hours. Within the campaign's tolerance, bookings ahead that we deliver ourselves
    give way (they are asked again at their own hand-off), so that seconds of delay do not undo what was placed exactly
    as far apart as a cap demands; those a caller delivers, and all of them for a message later than that, are counted.
    A cap that adapts keeps the limit it had when the message was decided, or the declared one if that is lower now.
    """
    journey = playbook.spec.journeys.get(send.trigger.removeprefix(PREFIX)) if send.trigger.startswith(PREFIX) else None
    if journey is not None and journey.state == "stopped":
        return Reason.CANCELLED
    if now >= send.expires_at:
        return Reason.EXPIRED
    is_transactional = send.purpose == "transactional"
    if not has_address(send.channel, customer.traits):
        return Reason.NO_ADDRESS
    refusal = Standing(consents).refusal(send.channel, send.topic, is_transactional, playbook.spec.consent)
    if refusal is not None:
        return refusal.reason
    rules, campaign = rules_of(playbook), playbook.spec.campaigns.get(send.campaign)
    keeps_quiet = not is_transactional and (campaign is None or campaign.obeys_quiet_hours)
    quiet = rules.quiet if keeps_quiet and rules.quiet is not None and rules.quiet.binds(send.channel) else None
    obeys = send.obeys_caps and not is_transactional
    caps = [r for r in rules.caps if r.includes(send) and not (r.is_per_account and send.account_id is None)]
    caps = caps if obeys else []
    zone = calendar_zone(customer)
    tolerance = campaign.tolerance if campaign is not None else timedelta(0)
    if now - send.send_at <= tolerance:
        others = [s for s in others if not _gives_way(s, now)]
        account = [s for s in account if not _gives_way(s, now)]
    book = Book(others, (), account, _limits(caps, send))
    at = earliest_slot(
        to_us(max(now, send.send_at)), to_us(send.expires_at), quiet, zones_of(customer), caps, book, zone
    )
    return at.reason if isinstance(at, Blocked) else from_us(at)


def _limits(caps: Sequence[CapRule], send: Send) -> dict[CapRule, int]:
    """The limits this message was decided with, where they are stricter than what the playbook declares now."""
    decided = send.payload.get("limits", {})
    return {r: decided[r.name] for r in caps if r.at_most is not None and decided.get(r.name, r.at_most) < r.at_most}


def _gives_way(send: Send | AccountSend, now: datetime) -> bool:
    """A booking ahead that will be asked again before it leaves."""
    return send.deliver is Deliver.SERVICE and send.state is SendState.RESERVED and send.send_at > now
