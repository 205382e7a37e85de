"""Decide for every customer as of T, from what was known at T: offline features, then the same vector and pipeline."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson

from opportune.decision import record
from opportune.decision.pipeline import decide as choose
from opportune.domain import identity
from opportune.domain.customers import Claim
from opportune.domain.decisions import Ask, Decision, Value
from opportune.domain.events import Event
from opportune.domain.instants import parse_instant, to_us
from opportune.domain.messages import Deliver
from opportune.flows.backfill import values_of
from opportune.flows.decide import case_of, decide
from opportune.flows.desk import Desk, horizon_start
from opportune.flows.past import Past, as_booked_then, past_of
from opportune.flows.publish import EVENTS_CURSOR
from opportune.flows.readings import readings_from, tell_hours
from opportune.ports import OfflineFeatures, UnitOfWork


def decide_all(
    at: datetime, desk: Desk, offline: OfflineFeatures, channels: tuple[str, ...] | None = None, page: int = 5000
) -> Iterator[list[dict[str, Any]]]:
    """Rows of decisions, a page of customers at a time, in order of customer id. Reads only.

    Memory is bounded by `page` and by what is not archived yet: archive first.
    """
    with desk.ledger.read() as uow:
        claims = uow.identities.all_claims()
        tail = tail_of(uow)
    after = ""
    while True:
        with desk.ledger.read() as uow:
            ids = uow.customers.all_ids(after, page)
            if not ids:
                return
            after = ids[-1]
            known = known_then(ids, at, claims, desk, uow)
        values = features_then(sorted(known), at, offline, tail, claims)
        readings = readings_from(values, {}, desk, ())
        tell_hours(readings, {c: past.customer for c, past in known.items()}, at, desk)
        rows = []
        for customer_id in values:
            case = case_of(
                Ask(customer_id=customer_id, at=at, channels=channels, dry_run=True),
                known[customer_id].customer,
                at,
                readings[customer_id],
                known[customer_id].consents,
                known[customer_id].sends,
                desk,
                degraded=False,
            )
            rows.append(row_of(choose(case, desk.playbook), desk))
        yield rows


def decide_now(desk: Desk, channels: tuple[str, ...] | None = None, page: int = 200) -> Iterator[list[dict[str, Any]]]:
    """Decide for every customer now, for real: reserved, logged, and delivered by the service."""
    after = ""
    while True:
        with desk.ledger.read() as uow:
            ids = uow.customers.all_ids(after, page)
        if not ids:
            return
        after = ids[-1]
        asks = [Ask(customer_id=c, channels=channels, deliver=Deliver.SERVICE) for c in ids]
        yield [row_of(d, desk) for d in decide(asks, desk) if isinstance(d, Decision)]


def known_then(
    ids: Sequence[str], at: datetime, claims: Sequence[Claim], desk: Desk, uow: UnitOfWork
) -> dict[str, Past]:
    """The customers among `ids` (and those since merged into them) who were known at `at`, as they were known then."""
    found: dict[str, Past] = {}
    consents, sends = uow.consents.of(ids), uow.sends.log(ids, horizon_start(at, desk.playbook))
    merged = {identity.customer_id_of(root) for root in identity.resolve(claims).values()}
    at_us = to_us(at)
    for customer_id, customer in uow.customers.get(ids).items():
        if customer.first_seen_at is None or customer.first_seen_at > at:
            continue
        changed_since = any(stamp[0] > at_us for stamp in customer.trait_stamps.values())
        if customer_id not in merged and not changed_since:
            said = tuple(c for c in consents.get(customer_id, ()) if c.recorded_at <= at)
            booked = tuple(as_booked_then(s, at) for s in sends.get(customer_id, ()) if s.reserved_at <= at)
            found[customer_id] = Past(customer, (), said, booked)
            continue
        for key in uow.identities.keys_of([customer_id]).get(customer_id, []):
            past = past_of(identity.customer_id_of(key), at, desk.playbook, uow)
            if past.events:
                found[past.customer.customer_id] = past
    return found


def tail_of(uow: UnitOfWork) -> list[tuple[Event, str]]:
    """The events the archive does not hold yet: those that came while another process was archiving."""
    cursor = uow.cursors.get(EVENTS_CURSOR) or ""
    tail: list[tuple[Event, str]] = []
    while True:
        page, cursor = uow.events.after(cursor, 20_000)
        if not page:
            return tail
        tail += page


def features_then(
    ids: Sequence[str],
    at: datetime,
    offline: OfflineFeatures,
    tail: Sequence[tuple[Event, str]],
    claims: Sequence[Claim],
) -> dict[str, Mapping[str, Value]]:
    """Finished offline features as of `at`, by customer id, in order."""
    if not ids:
        return {}
    return dict(zip(ids, values_of([(c, at) for c in ids], offline, tail, claims), strict=True))


def row_of(decision: Decision, desk: Desk) -> dict[str, Any]:
    """One decision as a row. `model_as_of`: knowledge time of the scores' models; `in_sample` when `at` is earlier."""
    answer = record.decision_to_dict(decision)
    first = answer["messages"][0] if answer["messages"] else {}
    as_of = [m.as_of for n, m in desk.scorer.models.items() if n in decision.scores and m.as_of]
    return {
        "customer_id": decision.customer_id,
        "decided_at": decision.decided_at,
        "mode": str(decision.mode),
        "summary": decision.summary,
        **{f"p_{name}": score.p for name, score in decision.scores.items()},
        "models": ",".join(sorted(s.model for s in decision.scores.values())) or None,
        "model_as_of": max(as_of) if as_of else None,
        "in_sample": bool(as_of) and decision.decided_at < max(parse_instant(str(a)) for a in as_of),
        "n_messages": len(decision.messages),
        "campaign": first.get("campaign"),
        "channel": first.get("channel"),
        "variant": first.get("variant"),
        "send_at": decision.messages[0].send_at if decision.messages else None,
        "value_minor": first.get("value_minor"),
        "messages": orjson.dumps(answer["messages"]).decode(),
        "removed": orjson.dumps(answer["removed"]).decode(),
    }
