"""Labels: which customers were in the population at each cut-off, and which of them reached the target.

Pages of events stream through a Tally; what stays in memory is two bits a cut-off per identity.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from opportune.domain.customers import Claim
from opportune.domain.events import Event, Origin
from opportune.domain.identity import customer_id_of, resolve
from opportune.domain.instants import DAY_US, from_us, to_us


def cut_offs(as_of: datetime, horizon_days: int, every_days: int, at_most: int) -> list[datetime]:
    """Cut-offs whose labels have matured by `as_of`, oldest first: `as_of` - horizon, and others before it."""
    newest = as_of - timedelta(days=horizon_days)
    return [newest - timedelta(days=every_days * k) for k in reversed(range(at_most))]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelRow:
    """One customer at one cut-off. `is_reached`: the target's event happened in (at, at + horizon], or, for a target
    that says so, did not; as known at `as_of`."""

    customer_id: str
    at: datetime
    is_reached: bool


@dataclass(slots=True)
class Tally:
    """Counts events as they stream by, in any order.

    `activity`: event names that count as being active; empty: every event that is not our own and not in `ignore`.
    `horizon_days`: label windows are (cut-off, cut-off + horizon], strictly after what features may see.
    Events after `as_of`, or known only later, do not exist for it.
    """

    cut_offs: Sequence[datetime]
    as_of: datetime
    horizon_days: int
    active_within_days: int
    activity: frozenset[str]
    ignore: frozenset[str]
    _active: dict[str, int] = field(default_factory=dict)  # id key -> bit i set: active at cut-off i
    _wanted: dict[str, int] = field(default_factory=dict)  # id key -> bit i set: a wanted event in the window of i
    _cuts_us: list[int] = field(default_factory=list)
    _first_us: int | None = None

    def __post_init__(self) -> None:
        self._cuts_us = [to_us(at) for at in self.cut_offs]

    def sees(self, event: Event) -> bool:
        """True when the event exists as of `as_of`."""
        return event.event_at <= self.as_of and event.known_at <= self.as_of

    @property
    def first_at(self) -> datetime | None:
        """Instant of the oldest event seen; null when none was."""
        return None if self._first_us is None else from_us(self._first_us)

    def add(self, event: Event, is_wanted: bool | None = None) -> None:
        """Count one event; `is_wanted`: whether it is what the target is about, null: when it is activity."""
        if not self.sees(event):
            return
        event_us, key = to_us(event.event_at), event.id_key
        self._first_us = event_us if self._first_us is None else min(self._first_us, event_us)
        is_activity = self._is_activity(event)
        if is_activity if is_wanted is None else is_wanted:
            first = bisect_left(self._cuts_us, event_us - self.horizon_days * DAY_US)
            end = bisect_left(self._cuts_us, event_us)
            if end > first:
                self._wanted[key] = self._wanted.get(key, 0) | ((1 << end) - (1 << first))
        if not is_activity:
            return
        # active at the cut-offs from where it happened and was known to where the window has passed it
        first = bisect_left(self._cuts_us, max(event_us, to_us(event.known_at)))
        end = bisect_left(self._cuts_us, event_us + self.active_within_days * DAY_US)
        if end > first:
            self._active[key] = self._active.get(key, 0) | ((1 << end) - (1 << first))

    def _is_activity(self, event: Event) -> bool:
        if self.activity:
            return event.name in self.activity
        return event.origin is not Origin.OWN and event.name not in self.ignore

    def rows(self, claims: Iterable[Claim], history_days: int, happens: bool = True) -> list[LabelRow]:
        """One row per customer and cut-off with at least `history_days` of events behind it, by (cut-off, customer id).

        Who is who at a cut-off follows the claims known then; the label follows the person as known at `as_of`,
        so that an order placed under an identity linked later still counts. `happens` false: reached by those for
        whom nothing wanted happened.
        """
        claims = list(claims)
        final = resolve(_known(claims, self.as_of))
        wanted: dict[str, int] = {}
        for key, bits in self._wanted.items():
            root = final.get(key, key)
            wanted[root] = wanted.get(root, 0) | bits
        oldest_us = 0 if self._first_us is None else self._first_us + history_days * DAY_US
        rows: list[LabelRow] = []
        for i, at in enumerate(self.cut_offs):
            start_us = self._cuts_us[i]
            if start_us < oldest_us:
                continue
            roots = resolve(_known(claims, at))
            people = {roots.get(key, key) for key, bits in self._active.items() if bits >> i & 1}
            for root in sorted(people, key=customer_id_of):
                has_happened = bool(wanted.get(final.get(root, root), 0) >> i & 1)
                rows.append(LabelRow(customer_id=customer_id_of(root), at=at, is_reached=has_happened == happens))
        return rows


def _known(claims: Iterable[Claim], at: datetime) -> list[Claim]:
    return [claim for claim in claims if claim.event_at <= at and claim.known_at <= at]
