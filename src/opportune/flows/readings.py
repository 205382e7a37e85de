"""One moment of customers: finished features as the store or the ledger has them, and what models say of them."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from opportune.decision.hours import SEND_TIME
from opportune.decision.zones import zone_of
from opportune.domain.customers import Customer
from opportune.domain.decisions import Score, Value
from opportune.features.state import State, finalise
from opportune.flows import reads
from opportune.flows.desk import Desk
from opportune.flows.states import unpack_readable
from opportune.ports import Unavailable


@dataclass(slots=True)
class Reading:
    """One customer's finished features and scores, the state version they came from, and when that was committed."""

    version: int
    values: Mapping[str, Value]
    scores: Mapping[str, Score]
    committed_at: datetime | None = None

    def is_of(self, stamp: tuple[int, datetime] | None) -> bool:
        """Whether this is the very state the ledger has. The version alone is not enough: an online store may outlive
        its home, or serve two of them."""
        return stamp == (self.version, self.committed_at)


def read_features(
    customer_ids: Collection[str],
    now: datetime,
    desk: Desk,
    explained: Collection[str] = (),
    *,
    is_whole: bool = False,
) -> tuple[dict[str, Reading], bool]:
    """Finished features and scores as the store has them, and whether the store could not be reached.

    `is_whole`: every feature of the catalogue; else those a decision can read.
    """
    try:
        rows = desk.features.read(sorted(customer_ids)) if customer_ids else {}
    except Unavailable:
        return {}, True
    states = unpack_readable(rows)
    readings = readings_of(states, {c: rows[c].version for c in states}, now, desk, explained, is_whole=is_whole)
    for customer_id, reading in readings.items():
        reading.committed_at = rows[customer_id].committed_at
    return readings, False


def readings_of(
    states: Mapping[str, State],
    versions: Mapping[str, int],
    now: datetime,
    desk: Desk,
    explained: Collection[str],
    *,
    is_whole: bool = False,
) -> dict[str, Reading]:
    """Finish and score states, all customers at once; score reasons only for the `explained`."""
    names = None if is_whole else reads.features_read(desk)
    try:
        values = {c: finalise(s, now, None if reads.is_whole(c, now) else names) for c, s in states.items()}
        return readings_from(values, versions, desk, explained)
    except KeyError:  # a model that came into use just now reads others
        if is_whole:
            raise
        return readings_of(states, versions, now, desk, explained, is_whole=True)


def readings_from(
    values: Mapping[str, Mapping[str, Value]], versions: Mapping[str, int], desk: Desk, explained: Collection[str]
) -> dict[str, Reading]:
    """Score finished values, all customers at once. Who never did anything has no scores: no model learnt from such."""
    seen = [c for c, known in values.items() if known["last_active_age_days"] is not None]
    reasons_for = [i for i, c in enumerate(seen) if c in explained]
    scores = dict(zip(seen, desk.scorer.score([values[c] for c in seen], explain=reasons_for), strict=True))
    return {c: Reading(version=versions.get(c, 0), values=values[c], scores=scores.get(c, {})) for c in values}


def tell_hours(
    readings: Mapping[str, Reading],
    customers: Mapping[str, Customer],
    now: datetime,
    desk: Desk,
    explained: Collection[str] = (),
) -> None:
    """Add the send-time score to the readings of these customers, all at once. As with the others, who never did
    anything has none."""
    seen = [c for c in readings if readings[c].values["last_active_age_days"] is not None]
    if not seen:
        return
    zones = [zone_of(customers[c].zone) if c in customers else None for c in seen]
    explain = [i for i, c in enumerate(seen) if c in explained]
    default_hour = desk.playbook.spec.send_time.default_hour
    values = [readings[c].values for c in seen]
    try:
        found = desk.scorer.best_hours(values, zones, now, default_hour, explain) or ()
    except KeyError:  # a model that came into use just now reads others: from the next decision on
        return
    for c, score in zip(seen, found, strict=False):
        readings[c].scores = {**readings[c].scores, SEND_TIME: score}
