"""Who held which identity key and when, as offline features need it: by customer and by bucket. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from opportune.domain.customers import Claim
from opportune.domain.envelopes import ANONYMOUS_PREFIX
from opportune.domain.events import Event
from opportune.domain.identity import bucket_of, customer_id_of, spans
from opportune.domain.instants import to_us

EVER = (-(2**62), 2**62)
#: Identity spans: key -> (customer id, from, to) with instants in microseconds, [from, to).
Owners = dict[str, list[tuple[str, int, int]]]


def owners_of(claims: Sequence[Claim]) -> Owners:
    """Who owns each claimed key and when; before its first span and in gaps a key is its own customer."""
    held: dict[str, list[tuple[int, int, str]]] = defaultdict(list)
    for key, root, known_from, known_to in spans(claims):
        start = EVER[0] if known_from is None else to_us(known_from)
        held[key].append((start, EVER[1] if known_to is None else to_us(known_to), customer_id_of(root)))
    owners: Owners = {}
    for key, pieces in held.items():
        whole, at = [], EVER[0]
        for start, end, customer_id in sorted(pieces):
            if start > at:
                whole.append((customer_id_of(key), at, start))
            whole.append((customer_id, start, end))
            at = end
        if at < EVER[1]:
            whole.append((customer_id_of(key), at, EVER[1]))
        owners[key] = whole
    return owners


def by_bucket(tail: Sequence[tuple[Event, str]], owners: Owners) -> dict[int, list[tuple[Event, str]]]:
    """The tail by bucket: an event goes to the bucket of everybody who ever owned its key."""
    buckets: dict[str, set[int]] = {}
    split: dict[int, list[tuple[Event, str]]] = defaultdict(list)
    for event, customer_id in tail:
        key = event.id_key
        if key not in buckets:
            held = owners.get(key)
            buckets[key] = {bucket_of(c) for c, _, _ in held} if held else {bucket_of(customer_id_of(key))}
        for bucket in buckets[key]:
            split[bucket].append((event, customer_id))
    return split


class Held:
    """Who held which identity key and when, to be asked by customer."""

    def __init__(self, owners: Owners) -> None:
        self.owners = owners
        self._keys: dict[str, list[str]] = defaultdict(list)
        for key, held in owners.items():
            for customer_id in {customer_id for customer_id, _, _ in held}:
                self._keys[customer_id].append(key)

    def of(self, customer_ids: Iterable[str]) -> tuple[list[tuple[str, str, int, int]], set[str]]:
        """(key, holder, from, to) of every key one of them ever held by a claim; and all keys they ever held."""
        asked = list(customer_ids)
        claimed = sorted({key for customer_id in asked for key in self._keys.get(customer_id, ())})
        owned = [(key, *span) for key in claimed for span in self.owners[key]]
        return owned, {*claimed, *(key for customer_id in asked for key in _own_keys(customer_id))}


def _own_keys(customer_id: str) -> tuple[str, ...]:
    """The keys that stand for a customer as long as no claim touches them: `customer_id_of` backwards."""
    user, anonymous = f"u:{customer_id}", f"a:{customer_id.removeprefix(ANONYMOUS_PREFIX)}"
    return (user, anonymous) if customer_id.startswith(ANONYMOUS_PREFIX) else (user,)


def owned_table(owned: Sequence[tuple[str, str, int, int]]) -> Any:
    """(key, holder, from, to) as an Arrow table."""
    import pyarrow as pa

    keys, customers, starts, ends = zip(*owned, strict=True) if owned else ((), (), (), ())
    return pa.table(
        {
            "id_key": pa.array(keys, pa.string()),
            "owner": pa.array(customers, pa.string()),
            "from_us": pa.array(starts, pa.int64()),
            "to_us": pa.array(ends, pa.int64()),
        }
    )
