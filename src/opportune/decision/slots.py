"""Slots: when a message may go, inside quiet hours, expiry and caps at that very instant.

The hours of UTC, cut at every instant where a window opens: `now`, the end of quiet hours, the instant a cap has room
again. So the first feasible slot is the exact earliest instant at which everything passes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any

from opportune.decision.caps import Book, Breach, CapRule, breaches, earliest_pass
from opportune.decision.zones import QuietRule, Zones
from opportune.domain.decisions import Reason
from opportune.domain.instants import HOUR_US


@dataclass(frozen=True, slots=True)
class Blocked:
    """No slot in time: the gate that stood last, the numbers that met, and when it would open (us, null: never)."""

    reason: Reason
    rule: str | None
    detail: dict[str, Any]
    passes_us: int | None


def earliest_slot(
    start: int,
    deadline: int,
    quiet: QuietRule | None,
    zones: Zones,
    caps: Sequence[CapRule],
    book: Book,
    zone: tzinfo,
) -> int | Blocked:
    """The earliest instant in [start, deadline) outside quiet hours in all `zones` at which all `caps` hold."""
    if start >= deadline:
        return Blocked(Reason.EXPIRED, None, {}, None)
    at = start
    while True:
        if quiet is not None:
            opens = quiet.opens_at(at, zones)
            if opens is None or opens >= deadline:
                detail = {"zone": getattr(zones[0], "key", None) if len(zones) == 1 else None}
                return Blocked(Reason.QUIET_HOURS, "quiet_hours", detail, opens)
            at = opens
        broken = breaches(at, caps, book, zone) if caps else None
        if not broken:
            return at
        passes = earliest_pass(at, caps, book, zone)
        if passes is None or passes >= deadline:
            return _capped(broken, passes)
        at = passes


def next_hour(at: int) -> int:
    """The next whole hour of UTC."""
    return at - at % HOUR_US + HOUR_US


def _capped(broken: list[Breach], passes: int | None) -> Blocked:
    """The cap that holds longest, the first of the playbook among equals."""
    last = max(broken, key=lambda b: float("inf") if b.passes_us is None else b.passes_us)
    if last.kind == "apart":
        detail = {"limit": last.limit, "found": last.found, "unit": "s"}
        return Blocked(Reason.SPACING, last.rule.name, detail, passes)
    detail = {"limit": last.limit, "found": last.found, "window": last.rule.window}
    if last.limit != last.rule.at_most:
        detail |= {"at_most": last.rule.at_most, "by": last.rule.adapt and last.rule.adapt.by}
    return Blocked(Reason.FREQUENCY_CAP, last.rule.name, detail, passes)
