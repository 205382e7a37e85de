"""Who is who: a pure fold over claims. Any order, any duplication of the same claims gives the same people.

Rules.
1. `identify` with both ids links the anonymous id to a user, once: the first claim by (event_at, message_id) wins.
2. `alias` merges whole people: `previousId` goes into `userId`, aliases applied in (event_at, message_id) order. Two
   people already one stay as they are, so a circle of aliases ends at the first one's target.
3. `previousId` may name a user or an anonymous id; which, cannot be known. It stands for both: the user of that id is
   merged (rule 2), and the anonymous id of that text is linked as by rule 1. So an alias of an anonymous id never joins
   two users by accident, and the answer does not depend on which events happened to come first.
4. Ids that stand for nobody (`null`, `anonymous`, `0`, ...) never link.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from opportune.domain.customers import Claim
from opportune.domain.envelopes import ANONYMOUS_PREFIX
from opportune.domain.events import Event, EventKind

#: Texts that clients send when they know nobody. Compared without case and surrounding space.
NOBODY = frozenset(
    {
        "", "0", "-1", "null", "nil", "none", "undefined", "unknown", "anonymous", "anon", "guest", "nan", "n/a", "na",
        "true", "false", "[object object]", "(null)", "(none)", "00000000-0000-0000-0000-000000000000",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Join:
    """Two identities became one, by the time of the envelope that says so."""

    at: datetime
    from_key: str
    into_key: str


#: An as-of line of history: id key, root key, known from, known to (excluded; null: still so).
Span = tuple[str, str, datetime, datetime | None]


#: Customers are dealt out to this many buckets: of the archive, and of whatever works through all of them.
#: Fixed for the life of an archive: a customer's events are all in one bucket, whatever the number of customers.
N_BUCKETS = 16


def bucket_of(customer_id: str) -> int:
    """The bucket of a customer, 0..15: a stable hash, the same in every process."""
    return hashlib.blake2b(customer_id.encode("utf-8", "surrogatepass"), digest_size=4).digest()[0] % N_BUCKETS


def may_link(identifier: str | None) -> bool:
    """False for null and for ids that stand for nobody in particular."""
    return identifier is not None and identifier.strip().lower() not in NOBODY


def customer_id_of(key: str) -> str:
    """The customer id of a root key: `u:X` -> `X`, `a:X` -> `anon:X`."""
    return key[2:] if key.startswith("u:") else ANONYMOUS_PREFIX + key[2:]


def claims_of(event: Event) -> tuple[Claim, ...]:
    """What one envelope claims: nothing, one link (identify with both ids), or a merge and a link (alias)."""
    user = event.user_id
    if not may_link(user):
        return ()
    if event.kind is EventKind.IDENTIFY and may_link(event.anonymous_id):
        return (_claim(event, f"a:{event.anonymous_id}", is_alias=False),)
    if event.kind is EventKind.ALIAS and may_link(event.previous_id) and event.previous_id != user:
        return (
            _claim(event, f"u:{event.previous_id}", is_alias=True),
            _claim(event, f"a:{event.previous_id}", is_alias=False),
        )
    return ()


def _claim(event: Event, from_key: str, is_alias: bool) -> Claim:
    return Claim(
        message_id=event.message_id,
        from_key=from_key,
        into_key=f"u:{event.user_id}",
        is_alias=is_alias,
        event_at=event.event_at,
        known_at=event.known_at,
    )


def resolve(claims: Iterable[Claim]) -> dict[str, str]:
    """Root key of every key that any claim names. Independent of order and duplication."""
    ordered = _ordered(claims)
    links: dict[str, str] = {}
    for claim in ordered:
        if not claim.is_alias:
            links.setdefault(claim.from_key, claim.into_key)
    parent: dict[str, str] = {}
    for claim in ordered:
        if claim.is_alias:
            source = _find(parent, links.get(claim.from_key, claim.from_key))
            target = _find(parent, links.get(claim.into_key, claim.into_key))
            if source != target:
                parent[source] = target
    keys = {key for claim in ordered for key in (claim.from_key, claim.into_key)}
    return {key: _find(parent, links.get(key, key)) for key in keys}


def joins(claims: Iterable[Claim]) -> list[Join]:
    """Every step by which the components of `resolve` grew together, in the order of the envelopes' own times."""
    parent: dict[str, str] = {}
    linked: set[str] = set()
    found: list[Join] = []
    for claim in _ordered(claims):
        if not claim.is_alias:
            if claim.from_key in linked:
                continue  # the first link of an anonymous key is the one that counts
            linked.add(claim.from_key)
        one, other = _find(parent, claim.from_key), _find(parent, claim.into_key)
        if one != other:
            parent[one] = other
            found.append(Join(claim.event_at, claim.from_key, claim.into_key))
    return found


def spans(claims: Iterable[Claim]) -> list[Span]:
    """As-of history: which root each key had, from when it was known. A key stands for itself before its first span.

    Ordered by (key, known_from); the spans of one key follow each other without a gap, the last one open.
    """
    found: list[Span] = []
    for component in _components(_ordered(claims)):
        current: dict[str, tuple[str, datetime]] = {}
        for at, roots in _history(component):
            for key, root in roots.items():
                if key in current:
                    if current[key][0] == root:
                        continue
                    found.append((key, *current[key], at))
                current[key] = (root, at)
        found.extend((key, root, since, None) for key, (root, since) in current.items())
    return sorted(found, key=lambda span: (span[0], span[2]))


def is_redundant(claim: Claim, others: Iterable[Claim]) -> bool:
    """True when another claim says the same, happened no later and was known no later: keeping it changes no answer."""
    return any(
        c.from_key == claim.from_key
        and c.into_key == claim.into_key
        and c.is_alias == claim.is_alias
        and _order(c) <= _order(claim)
        and c.known_at <= claim.known_at
        for c in others
    )


def _history(component: Sequence[Claim]) -> list[tuple[datetime, dict[str, str]]]:
    """(known at, roots that may have changed) at every instant when something became known, ascending."""
    by_known = sorted(component, key=lambda c: (c.known_at, _order(c)))
    instants = sorted({c.known_at for c in by_known})
    if any(c.is_alias for c in component):
        return [(at, resolve(c for c in by_known if c.known_at <= at)) for at in instants]
    # Links only (many users of one device): each anonymous key's first claim so far, in one pass.
    firsts: dict[str, Claim] = {}
    changes: dict[datetime, dict[str, str]] = {at: {} for at in instants}
    for claim in by_known:
        known = firsts.get(claim.from_key)
        if known is None or _order(claim) < _order(known):
            firsts[claim.from_key] = claim
            changes[claim.known_at][claim.from_key] = claim.into_key
        changes[claim.known_at].setdefault(claim.into_key, claim.into_key)
    return list(changes.items())


def _components(ordered: Sequence[Claim]) -> list[list[Claim]]:
    """Claims grouped into connected components."""
    parent: dict[str, str] = {}
    for claim in ordered:
        a, b = _find(parent, claim.from_key), _find(parent, claim.into_key)
        if a != b:
            parent[a] = b
    groups: dict[str, list[Claim]] = {}
    for claim in ordered:
        groups.setdefault(_find(parent, claim.from_key), []).append(claim)
    return list(groups.values())


def _order(claim: Claim) -> tuple[datetime, str, str]:
    return claim.event_at, claim.message_id, claim.from_key


def _ordered(claims: Iterable[Claim]) -> list[Claim]:
    return sorted(set(claims), key=lambda c: (_order(c), c.into_key))


def _find(parent: dict[str, str], key: str) -> str:
    """The root of a key, halving the path on the way."""
    while (up := parent.get(key, key)) != key:
        above = parent.get(up, up)
        parent[key] = above
        key = above
    return key
