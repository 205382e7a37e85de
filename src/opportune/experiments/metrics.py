"""What an experiment is read by: sums per variation and day, never rows. Pure.

Days are UTC days. A unit counts on the day of its first exposure; everything else on the day it happened, from the
exposure on: sends (virtual ones left out), opens and clicks (once per message, machine opens left out), unsubscribes,
goals inside their window and what they were worth.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

from opportune.domain.messages import Deliver, Outcome, OutcomeKind, Send, SendState
from opportune.experiments.attribute import Hit, after_exposure

#: In the order people read them.
METRICS = ("units", "sends", "opens", "clicks", "goals", "revenue_minor", "unsubscribes")
_KINDS = {
    OutcomeKind.OPENED: "opens",
    OutcomeKind.SHOWN: "opens",
    OutcomeKind.CLICKED: "clicks",
    OutcomeKind.UNSUBSCRIBED: "unsubscribes",
}


@dataclass(frozen=True, slots=True)
class Exposed:
    """The first exposure of one unit. `holder`: the customer who owns its history now."""

    unit: str
    variation: str
    at: datetime
    holder: str


def day_of(at: datetime) -> date:
    """The UTC day of an instant."""
    return at.astimezone(UTC).date()


def start_of(day: date) -> datetime:
    """The first instant of a UTC day."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


@dataclass(slots=True)
class Sums:
    """Sums per (variation, day) and metric, of what happened before `until`. Memory: days x variations."""

    until: datetime
    by_day: dict[tuple[str, date], dict[str, int]] = field(default_factory=dict)

    def add(
        self,
        exposed: Exposed,
        sends: Sequence[Send],
        outcomes: Mapping[str, Sequence[Outcome]],
        hits: Iterable[Hit],
        windows: Mapping[str, timedelta],
        ends_at: datetime | None = None,
    ) -> None:
        """Count one unit: its sends with their outcomes by message id, and the goals of its customer.

        Sends decided after the trial's end are none of its doing.
        """
        if exposed.at >= self.until:
            return
        arm = exposed.variation
        self._count(arm, exposed.at, "units", 1)
        for send in sends:
            if not is_gone(send, self.until) or send.reserved_at < exposed.at:
                continue
            if ends_at is not None and send.reserved_at >= ends_at:
                continue
            self._count(arm, send.send_at, "sends", 1)
            seen: set[str] = set()
            for outcome in outcomes.get(send.message_id, ()):
                metric = _KINDS.get(outcome.kind)
                if metric is not None and metric not in seen and not outcome.is_machine:
                    seen.add(metric)
                    self._count(arm, outcome.at, metric, 1)
        for hit in after_exposure(exposed.at, hits, windows):
            self._count(arm, hit.at, "goals", 1)
            self._count(arm, hit.at, "revenue_minor", hit.value_minor)

    def _count(self, variation: str, at: datetime, metric: str, amount: int) -> None:
        if at < self.until:
            sums = self.by_day.setdefault((variation, day_of(at)), dict.fromkeys(METRICS, 0))
            sums[metric] += amount

    def daily(self, variation: str, first: date) -> list[tuple[int, date, dict[str, int]]]:
        """(day number, day, sums) of every day from `first`, day 1, to the last complete one; quiet days are zeros."""
        last = day_of(self.until - timedelta(microseconds=1))
        days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
        blank = dict.fromkeys(METRICS, 0)
        return [(n, day, self.by_day.get((variation, day), blank)) for n, day in enumerate(days, 1)]

    def totals(self, variation: str) -> dict[str, int]:
        """Sums over all days."""
        found = dict.fromkeys(METRICS, 0)
        for (arm, _), sums in self.by_day.items():
            if arm == variation:
                found = {metric: found[metric] + sums[metric] for metric in METRICS}
        return found


def is_gone(send: Send, until: datetime) -> bool:
    """It reached its channel before `until`: handed off, or the caller's own and its hour has come without a word."""
    if send.is_virtual or send.send_at >= until:
        return False
    return send.state is SendState.SENT or (send.state is SendState.RESERVED and send.deliver is Deliver.CALLER)
