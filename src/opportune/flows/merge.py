"""Who the events of a batch belong to, and what becomes of everything else when that changes (a merge, or a split).

A merge moves the events, sends, timers and consents of a customer to the one they turn out to be. A late envelope can
also show that an anonymous id was somebody else's first: then its events move, with the timers they set and what they
say of consent; what was said to or by the one who held it (sends, consents given through the API) stays, because those
are facts about that one.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from opportune.domain import identity
from opportune.domain.customers import Claim
from opportune.domain.events import Event
from opportune.domain.watches import joined
from opportune.flows.agree import carried_over
from opportune.flows.rouse import unite
from opportune.ports import UnitOfWork

_FOREVER = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Belonging:
    """Which customer each id key of a batch belongs to, once its claims are counted.

    `home`: id key -> customer id, for the keys of the batch and of every component it touches. `moves`: id key ->
    (customer before, customer after). `new_keys`: mappings the ledger does not have yet. `claims`: those worth keeping.
    """

    home: Mapping[str, str]
    moves: Mapping[str, tuple[str, str]]
    new_keys: Mapping[str, str]
    claims: Sequence[Claim]

    @property
    def customers(self) -> set[str]:
        """Everybody whose lock is needed."""
        return set(self.home.values()) | {c for pair in self.moves.values() for c in pair}


@dataclass(frozen=True, slots=True)
class Merged:
    """`gone`: customer -> the one they were merged into. `split`: customers who lost or gained only some keys."""

    gone: Mapping[str, str]
    split: Collection[str]

    @property
    def touched(self) -> set[str]:
        """Customers whose history changed and who are still there."""
        return (set(self.gone.values()) | set(self.split)) - set(self.gone)


def belonging(events: Sequence[Event], uow: UnitOfWork) -> Belonging:
    """Read identities and fold in what these events claim. Writes nothing."""
    keys = {e.id_key for e in events}
    fresh = [claim for event in events for claim in identity.claims_of(event)]
    roots: dict[str, str] = {}
    if fresh:
        named = {key for c in fresh for key in (c.from_key, c.into_key)}
        known = uow.identities.claims_touching(named)
        fresh = _worth_keeping(fresh, known)
        roots = identity.resolve([*known, *fresh])
        keys |= named
    mapped = uow.identities.canonical(keys | set(roots))
    home = {key: mapped.get(key) or identity.customer_id_of(key) for key in keys | set(roots)}
    after = {**home, **{key: identity.customer_id_of(root) for key, root in roots.items()}}
    return Belonging(
        home=after,
        moves={key: (home[key], after[key]) for key in after if home[key] != after[key]},
        new_keys={key: customer for key, customer in after.items() if mapped.get(key) != customer},
        claims=fresh,
    )


def _worth_keeping(fresh: Iterable[Claim], known: Sequence[Claim]) -> list[Claim]:
    """Claims that may change an answer now or as of some instant: clients repeat `identify` on every page."""
    said: dict[tuple[str, str, bool], list[Claim]] = {}
    for claim in known:
        said.setdefault((claim.from_key, claim.into_key, claim.is_alias), []).append(claim)
    kept = []
    for claim in sorted(set(fresh), key=lambda c: (c.event_at, c.message_id, c.from_key)):
        alike = said.setdefault((claim.from_key, claim.into_key, claim.is_alias), [])
        if not identity.is_redundant(claim, alike):
            alike.append(claim)
            kept.append(claim)
    return kept


def merge(found: Belonging, seen: Collection[str], now: datetime, uow: UnitOfWork) -> Merged:
    """Write claims and mappings, and move what belongs to those that moved. Doing it twice changes nothing.

    `seen`: those of `found.customers` that have a row. Feature state, traits, timers and what events say of
    consent of `Merged.touched` are the caller's to make anew.
    """
    if found.claims:
        uow.identities.add_claims(found.claims)
    if not found.moves:
        if found.new_keys:
            uow.identities.map(found.new_keys)
        return Merged({}, ())
    before = _with_traces({old for old, _ in found.moves.values()}, seen, uow)
    moves = {key: pair for key, pair in sorted(found.moves.items()) if pair[0] in before}
    left = {old: set(keys) - set(found.moves) for old, keys in uow.identities.keys_of(before).items()}
    uow.identities.map(found.new_keys)
    targets = {new for _, new in moves.values()}
    for target in sorted(targets):
        uow.events.reassign([key for key, (_, new) in moves.items() if new == target], target)
    gone: dict[str, str] = {}
    split: set[str] = set()
    for old in sorted(before):
        into = [new for was, new in moves.values() if was == old]
        if left.get(old) or old in targets:
            split |= {old, *into}
        else:
            own = found.home.get(f"u:{old}")
            gone[old] = own if own is not None and own != old else into[-1]
            split |= set(into) - {gone[old]}
    if gone:
        _carry_over(gone, now, uow)
    return Merged(gone, frozenset(split))


def _with_traces(customer_ids: Collection[str], seen: Collection[str], uow: UnitOfWork) -> set[str]:
    """Those about whom anything is kept: most anonymous ids are named in the very envelope that links them."""
    unseen = set(customer_ids) - set(seen)
    if not unseen:
        return set(customer_ids)
    traced = {c for c, lines in uow.consents.of(unseen).items() if lines}
    traced |= {c for c, sends in uow.sends.log(unseen, _FOREVER).items() if sends}
    traced |= {c for c, timers in uow.timers.of(unseen).items() if timers}
    traced |= set(uow.journeys.of(unseen))
    return (set(customer_ids) & set(seen)) | traced


def _carry_over(gone: Mapping[str, str], now: datetime, uow: UnitOfWork) -> None:
    """Sends, timers, journeys and consents go with the customer; then the row left behind is dropped."""
    lines = uow.consents.of({*gone, *gone.values()})
    watches = {c: {w.rule: w for w in found} for c, found in uow.watches.get({*gone, *gone.values()}).items()}
    for old, new in sorted(gone.items()):
        uow.sends.reassign(old, new)
        uow.timers.reassign(old, new)
        unite(old, new, now, uow)
        theirs, mine = watches.get(old, {}), watches.get(new, {})
        joint = {rule: joined(mine.get(rule), theirs.get(rule), new) for rule in {*theirs, *mine}}
        watches[new] = {rule: watch for rule, watch in joint.items() if watch is not None}
        if added := carried_over(lines.get(old, ()), old, new):
            uow.consents.add(added)
            lines[new] = [*lines.get(new, ()), *added]
    if watches:
        uow.watches.put([watch for new in set(gone.values()) for watch in watches.get(new, {}).values()])
        uow.watches.remove(list(gone))
    uow.customers.remove(list(gone))
    uow.states.remove(list(gone))
