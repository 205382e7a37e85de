"""Decide for every customer as of T, from what was known at T: offline features, then the same vector and pipeline."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson

from opportune.decision import record
from opportune.decision.pipeline import decide as choose
from opportune.domain import identity
from opportune.domain.customers import Claim
from opportune.domain.decisions import Ask, Decision, Value
from opportune.domain.events import Event
from opportune.domain.identity import N_BUCKETS, bucket_of
from opportune.domain.instants import parse_instant, to_us
from opportune.domain.messages import Deliver
from opportune.flows.accounts import log_of
from opportune.flows.backfill import values_of
from opportune.flows.decide import case_of, decide, readings_from, tell_hours
from opportune.flows.desk import Desk, horizon_start
from opportune.flows.past import Past, as_booked_then, logs_then, past_of
from opportune.flows.publish import EVENTS_CURSOR
from opportune.flows.reads import features_read
from opportune.ports import OfflineFeatures, UnitOfWork

#: Customer ids read at a time.
_PORTION = 20_000


def decide_all(
    at: datetime, desk: Desk, offline: OfflineFeatures, channels: tuple[str, ...] | None = None, page: int = 5000
) -> Iterator[list[dict[str, Any]]]:
    """Rows of decisions, a page of customers at a time. Reads only.

    In order of customer id as long as `page` holds everybody; else bucket by bucket of the archive, so that each part
    of it is read for few pages. Memory is bounded by `page` and by what is not archived yet: archive first.
    """
    with desk.ledger.read() as uow:
        claims = uow.identities.all_claims()
        tail = tail_of(uow)
    moved, names = moved_since(at, claims), features_read(desk)
    for ids in pages_of(desk, page):
        with desk.ledger.read() as uow:
            known = known_then(ids, at, moved, desk, uow)
            logs = logs_then([past.customer for past in known.values()], at, desk.playbook, uow)
        values = features_then(sorted(known), at, offline, tail, claims, names)
        readings = readings_from(values, {}, desk, ())
        tell_hours(readings, {c: past.customer for c, past in known.items()}, at, desk)
        rows = []
        for customer_id in values:
            past = known[customer_id]
            ask = Ask(customer_id=customer_id, at=at, channels=channels, dry_run=True)
            account = log_of(past.customer, logs)
            case = case_of(ask, past.customer, at, readings[customer_id], past.consents, past.sends, desk, account)
            rows.append(row_of(choose(case, desk.playbook), desk))
        if rows:
            yield rows


def pages_of(desk: Desk, page: int) -> Iterator[list[str]]:
    """Every customer once, at most `page` at a time, those of one bucket together."""
    n_parts = min(N_BUCKETS, -(-sum(len(ids) for ids in _walk(desk)) // page))
    for part in range(n_parts):
        mine: list[str] = []
        for ids in _walk(desk):
            mine += ids if n_parts == 1 else [c for c in ids if bucket_of(c) % n_parts == part]
            while len(mine) >= page:
                yield mine[:page]
                mine = mine[page:]
        if mine:
            yield mine


def _walk(desk: Desk) -> Iterator[list[str]]:
    """All customer ids in order, in portions."""
    after = ""
    while True:
        with desk.ledger.read() as uow:
            ids = uow.customers.all_ids(after, _PORTION)
        if not ids:
            return
        yield ids
        after = ids[-1]


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


def moved_since(at: datetime, claims: Sequence[Claim]) -> set[str]:
    """The customers, by the id they have now, whose identity was known differently at `at`."""
    late = [c for c in claims if c.known_at > at]
    roots = identity.resolve(claims) if late else {}
    return {identity.customer_id_of(roots[key]) for c in late for key in (c.from_key, c.into_key)}


def known_then(
    ids: Sequence[str], at: datetime, moved: Collection[str], desk: Desk, uow: UnitOfWork
) -> dict[str, Past]:
    """The customers among `ids` (and those since merged into them) who were known at `at`, as they were known then."""
    found: dict[str, Past] = {}
    consents, sends = uow.consents.of(ids), uow.sends.log(ids, horizon_start(at, desk.playbook))
    at_us = to_us(at)
    for customer_id, customer in uow.customers.get(ids).items():
        if customer.first_seen_at is None or customer.first_seen_at > at:
            continue
        changed_since = any(stamp[0] > at_us for stamp in customer.trait_stamps.values())
        if customer_id not in moved and not changed_since:
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
    names: Sequence[str] | None = None,
) -> dict[str, Mapping[str, Value]]:
    """Finished offline features as of `at`, by customer id, in order. `names` null: every feature."""
    if not ids:
        return {}
    return dict(zip(ids, values_of([(c, at) for c in ids], offline, tail, claims, names), strict=True))


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
