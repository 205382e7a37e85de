"""How many messages the next days bring, by channel: the same weekdays of past weeks, and what is booked already. Pure.

A day's count is negative binomial around the mean m of its n past weekdays, with variance phi m (1 + 1/n): phi >= 1 is
how much days vary beyond chance (pooled over a channel's days), 1/n the uncertainty of the mean itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

#: Past weeks looked at, at most.
WEEKS = 8


@dataclass(frozen=True, slots=True)
class Outlook:
    """One channel on one UTC day. `expected` messages in all, `low` and `high` of the 95 % interval, `booked` of them
    known already. Null expectations: less than a week of history."""

    on: date
    channel: str
    booked: int
    expected: float | None
    low: int | None
    high: int | None


def forecast(
    sent: Mapping[tuple[str, date], int],
    booked: Mapping[tuple[str, date], int],
    first_on: date,
    today: date,
    days: int = 7,
) -> list[Outlook]:
    """The outlook of `days` days from tomorrow on, by day and channel. `sent`, `booked`: (channel, UTC day) -> number
    of messages; `first_on`: the first whole day of history, before which nothing is known."""
    channels = sorted({channel for channel, _ in (*sent, *booked)})
    past = [today - timedelta(days=n) for n in range(1, 7 * WEEKS + 1) if today - timedelta(days=n) >= first_on]
    found = []
    for ahead in range(1, days + 1):
        on = today + timedelta(days=ahead)
        for channel in channels:
            counts = [sent.get((channel, day), 0) for day in past if day.weekday() == on.weekday()]
            known = booked.get((channel, on), 0)
            if not counts:
                found.append(Outlook(on, channel, known, None, None, None))
                continue
            mean = sum(counts) / len(counts)
            low, high = _interval(mean, len(counts), _phi(channel, sent, past))
            found.append(Outlook(on, channel, known, max(mean, known), max(low, known), max(high, known)))
    return found


def _phi(channel: str, sent: Mapping[tuple[str, date], int], past: Sequence[date]) -> float:
    """Pearson's dispersion of the days around the mean of their weekday, at least 1."""
    by_weekday: dict[int, list[int]] = {}
    for day in past:
        by_weekday.setdefault(day.weekday(), []).append(sent.get((channel, day), 0))
    excess, freedom = 0.0, 0
    for counts in by_weekday.values():
        mean = sum(counts) / len(counts)
        if mean > 0 and len(counts) > 1:
            excess += sum((n - mean) ** 2 for n in counts) / mean
            freedom += len(counts) - 1
    return max(1.0, excess / freedom) if freedom else 1.0


def _interval(mean: float, n: int, phi: float) -> tuple[int, int]:
    """2.5 % and 97.5 % of one day's count."""
    from scipy.stats import nbinom

    mean = max(mean, 0.5 / n)  # nothing seen in n weeks is no proof of nothing
    b = n / (phi * (n + 1) - n)
    low, high = nbinom.ppf((0.025, 0.975), mean * b, b / (b + 1))
    return int(low), int(high)
