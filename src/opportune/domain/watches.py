"""Watches: on which side of a crossing a customer stands, per trigger that watches a value."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """Unique by (`rule`, `customer_id`). None kept: nobody has looked yet, and the first look fires nothing.

    `is_armed`: it fires at the next crossing; false from the firing until the value has gone back. `levels`: milestones
    passed, each fires once for ever. `definition`: fingerprint of what was watched; another one makes the next look a
    first one. `since`: when the side last changed.
    """

    rule: str
    customer_id: str
    definition: str
    is_armed: bool
    since: datetime
    levels: tuple[str, ...] = ()


def joined(mine: Watch | None, theirs: Watch | None, customer_id: str) -> Watch | None:
    """What is kept of two customers who turn out to be one: what fired on either side has fired, and where one side was
    never looked at the next look is the first. Null: nothing is known."""
    one = mine or theirs
    if one is None:
        return None
    both = mine is not None and theirs is not None and mine.definition == theirs.definition
    levels = {*(mine.levels if mine else ()), *(theirs.levels if theirs else ())}
    return Watch(
        rule=one.rule,
        customer_id=customer_id,
        definition=one.definition if both else "",
        is_armed=bool(mine and theirs and mine.is_armed and theirs.is_armed),
        since=max(it.since for it in (mine, theirs) if it is not None),
        levels=tuple(sorted(levels)),
    )
