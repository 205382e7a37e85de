"""Score, audience and milestone triggers: whether a value has crossed since somebody last looked. Pure.

Each look takes the watch that was kept and the value now, and gives the watch to keep and what fired. A first look, or
one after the trigger was changed, fires nothing; a value that is not known changes nothing.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import orjson

from opportune.domain.watches import Watch
from opportune.playbook.kinds import is_number
from opportune.playbook.triggers import Trigger

WATCHED = ("score", "audience", "milestone")


@dataclass(frozen=True, slots=True)
class Crossing:
    """One firing: its instance (milestone: the level) and what its condition and texts may read of it."""

    key: str
    payload: Mapping[str, Any]


def definition_of(trigger: Trigger, audiences: Mapping[str, str]) -> str:
    """Fingerprint of what is watched: while it stays, a watch means the same."""
    audience = trigger.entered or trigger.left
    said = (
        trigger.kind, trigger.score, trigger.above, trigger.rearms_below, bool(trigger.entered),
        audiences.get(audience) if audience else None, trigger.milestone, trigger.levels,
    )  # fmt: skip
    return hashlib.sha256(orjson.dumps(said)).hexdigest()[:16]


def blank(rule: str, trigger: Trigger, customer_id: str, definition: str, now: datetime) -> Watch:
    """The watch of a customer who was not there before: below every score and level, outside every audience."""
    return Watch(
        rule=rule, customer_id=customer_id, definition=definition, is_armed=trigger.left is None, since=now, levels=()
    )


def look(
    trigger: Trigger, before: Watch | None, value: Any, customer_id: str, rule: str, definition: str, now: datetime
) -> tuple[Watch | None, Crossing | None]:
    """The watch to keep (null: none yet) and the crossing that fires (null: none).

    `value`: the score in [0, 1], whether the customer is in the audience, or what the milestone counts; null: unknown.
    """
    if value is None:
        return before, None
    known = before if before is not None and before.definition == definition else None
    if trigger.kind == "milestone":
        return _milestone(trigger, before, known, value, customer_id, rule, definition, now)
    is_hot, is_cold = _sides(trigger, value)
    if known is None:
        levels = before.levels if before is not None else ()
        first = Watch(
            rule=rule, customer_id=customer_id, definition=definition, is_armed=not is_hot, since=now, levels=levels
        )
        return first, None
    if known.is_armed and is_hot:
        payload: dict[str, Any] = {"score": value} if trigger.kind == "score" else {}
        return replace(known, is_armed=False, since=now), Crossing("", payload)
    if not known.is_armed and is_cold:
        return replace(known, is_armed=True, since=now), None
    return known, None


def _sides(trigger: Trigger, value: Any) -> tuple[bool, bool]:
    """(across, back again)."""
    if trigger.kind == "score":
        return value > (trigger.above or 0.0), value < trigger.rearms_below
    is_in = bool(value)
    return (is_in, not is_in) if trigger.entered is not None else (not is_in, is_in)


def _milestone(
    trigger: Trigger,
    before: Watch | None,
    known: Watch | None,
    value: Any,
    customer_id: str,
    rule: str,
    definition: str,
    now: datetime,
) -> tuple[Watch, Crossing | None]:
    passed = set(before.levels) if before is not None else set()
    reached = levels_reached(trigger, value)
    new = [level for level in reached if level not in passed]
    levels = tuple(sorted(passed | set(reached)))
    after = Watch(
        rule=rule, customer_id=customer_id, definition=definition, is_armed=True, levels=levels,
        since=now if new or known is None else known.since,
    )  # fmt: skip
    if known is None or not new:
        return after, None
    return after, Crossing(new[-1], {"level": _as_written(trigger, new[-1]), "value": value})


def levels_reached(trigger: Trigger, value: Any) -> list[str]:
    """The levels at or below a value, ascending, as texts; of levels that are texts, all up to the one it equals."""
    if isinstance(trigger.levels[0], str):
        names = [str(level) for level in trigger.levels]
        return names[: names.index(value) + 1] if isinstance(value, str) and value in names else []
    if not is_number(value):
        return []
    return [_text(level) for level in trigger.levels if isinstance(level, int | float) and level <= value]


def _text(level: float | str) -> str:
    """5 and 5.0 are one level."""
    return f"{level:g}" if isinstance(level, float) and level == int(level) else str(level)


def _as_written(trigger: Trigger, text: str) -> float | str:
    return next(level for level in trigger.levels if _text(level) == text)
