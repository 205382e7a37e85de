"""One customer as known now: traits, identities, consent in force, features, sends, running timers."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from opportune.domain.customers import Consent, Customer
from opportune.domain.instants import format_instant
from opportune.domain.journeys import PREFIX as JOURNEY
from opportune.domain.journeys import Instance, StepTaken
from opportune.domain.messages import Send
from opportune.domain.timers import Timer
from opportune.features import state as feature_state
from opportune.flows.desk import Desk
from opportune.flows.people import canonical_ids
from opportune.flows.states import ledger_states

#: How far back sends are listed.
SENDS_FOR = timedelta(days=90)


def profile(customer_id: str, desk: Desk) -> dict[str, Any] | None:
    """The customer this id stands for, in the shape of the API; null when nothing at all is known of them.

    Features come from the ledger's state (never behind), finished now. Sends of the last 90 days and booked ones,
    oldest first. Raises Unavailable.
    """
    now = desk.clock.now()
    with desk.ledger.read() as uow:
        holder = canonical_ids([customer_id], uow)[customer_id]
        customer = uow.customers.get([holder]).get(holder)
        keys = uow.identities.keys_of([holder]).get(holder, [])
        consents = uow.consents.of([holder]).get(holder, [])
        states, versions = ledger_states([holder], uow)
        sends = uow.sends.log([holder], now - SENDS_FOR).get(holder, [])
        timers = uow.timers.of([holder]).get(holder, [])
        journeys = uow.journeys.running([holder]).get(holder, [])
        taken = uow.journeys.taken([j.instance_id for j in journeys])
    if not (customer or keys or consents or states or sends or timers):
        return None
    who = customer or Customer(customer_id=holder)
    running = sorted(timers, key=lambda t: (t.due_at, t.rule, t.key))
    return {
        "customer_id": holder,
        "traits": dict(who.traits),
        "is_test": who.is_test,
        "first_seen_at": format_instant(who.first_seen_at) if who.first_seen_at else None,
        "last_seen_at": format_instant(who.last_seen_at) if who.last_seen_at else None,
        "identities": [identity_to_dict(k) for k in sorted(keys)],
        "consent": [consent_to_dict(c) for c in in_force(consents)],
        "features": feature_state.finalise(states.get(holder) or feature_state.empty(), now),
        "features_at": format_instant(now),
        "features_version": versions.get(holder, 0),
        "sends": [send_to_dict(s) for s in sends],
        "timers": [timer_to_dict(t) for t in running if not t.rule.startswith(JOURNEY)],
        "journeys": [journey_to_dict(j, running, taken.get(j.instance_id, ())) for j in journeys],
    }


def in_force(consents: Sequence[Consent]) -> list[Consent]:
    """The newest line of each (channel, topic), by `at`, then `consent_id`."""
    newest: dict[tuple[str, str], Consent] = {}
    for line in sorted(consents, key=lambda c: (c.at, c.consent_id)):
        newest[line.channel, line.topic] = line
    return [newest[k] for k in sorted(newest)]


def identity_to_dict(key: str) -> dict[str, str]:
    """`u:X` or `a:X` as the field a caller knows it by."""
    return {"kind": "userId" if key.startswith("u:") else "anonymousId", "value": key[2:]}


def consent_to_dict(line: Consent) -> dict[str, Any]:
    """One line in force."""
    return {
        "channel": line.channel,
        "topic": line.topic,
        "state": line.state.value,
        "at": format_instant(line.at),
        "source": line.source,
        "recorded_at": format_instant(line.recorded_at),
    }


def send_to_dict(send: Send) -> dict[str, Any]:
    """One send: booked, sent or released. `handed_off_at` null: not handed off."""
    return {
        "message_id": send.message_id,
        "decision_id": send.decision_id,
        "campaign": send.campaign,
        "trigger": send.trigger,
        "channel": send.channel,
        "topic": send.topic,
        "purpose": send.purpose,
        "variant": send.variant,
        "state": send.state.value,
        "send_at": format_instant(send.send_at),
        "handed_off_at": format_instant(send.handed_off_at) if send.handed_off_at else None,
        "is_virtual": send.is_virtual,
        "counts": send.counts,
    }


def timer_to_dict(timer: Timer) -> dict[str, Any]:
    """One running timer."""
    return {
        "name": timer.rule,
        "key": timer.key,
        "set_at": format_instant(timer.set_at),
        "due_at": format_instant(timer.due_at),
        "expires_at": format_instant(timer.expires_at) if timer.expires_at else None,
    }


def journey_to_dict(one: Instance, timers: Sequence[Timer], taken: Sequence[StepTaken]) -> dict[str, Any]:
    """One journey the customer is on: where they stand, when it looks again if nothing happens, the steps taken."""
    due_at = next((t.due_at for t in timers if (t.rule, t.key) == (one.rule, one.key)), None)
    return {
        "name": one.journey,
        "key": one.key,
        "instance_id": one.instance_id,
        "step": one.step,
        "started_at": format_instant(one.started_at),
        "due_at": format_instant(due_at) if due_at else None,
        "messages": list(one.message_ids),
        "version": one.version,
        "steps": [
            {"n": t.n, "step": t.step, "result": t.result.value, "at": format_instant(t.at), "detail": dict(t.detail)}
            for t in taken
        ],
    }
