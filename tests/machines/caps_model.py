"""The model of the caps machine: a plain list of sends, and what each cap says about it, counted by hand."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, tzinfo

from tests.caps_by_hand import edges, has_room, is_counted

from opportune.domain.messages import Deliver, SendState
from opportune.playbook.schema import Cap


@dataclass
class Row:
    """One send as the model knows it."""

    message_id: str
    customer: str
    account: str | None
    at: datetime
    state: SendState
    deliver: Deliver
    channel: str
    topic: str
    purpose: str
    campaign: str
    tags: tuple[str, ...]
    obeys: bool
    counts: bool
    limits: Mapping[str, int]
    is_virtual: bool
    reserved_at: datetime

    @property
    def gives_way(self) -> bool:
        """A booking that is asked again before it leaves."""
        return self.state is SendState.RESERVED and self.deliver is Deliver.SERVICE


class Model:
    """All sends ever granted, released ones included, and the caps they must keep."""

    def __init__(self, caps: Mapping[str, Cap]) -> None:
        self.caps = caps
        self.rows: dict[str, Row] = {}

    def others(self, what: Row, cap: Cap, without: Sequence[str] = ()) -> list[Row]:
        """What the cap counts beside this send."""
        found = [r for r in self.rows.values() if r.counts and r.state is not SendState.RELEASED]
        mine = [r for r in found if r.message_id not in {what.message_id, *without} and is_counted(r, cap)]
        return [r for r in mine if (r.account == what.account if cap.per == "account" else r.customer == what.customer)]

    def binding(self, what: Row) -> dict[str, Cap]:
        """The caps that hold this send back."""
        mine = {n: c for n, c in self.caps.items() if is_counted(what, c)}
        return {n: c for n, c in mine.items() if c.per != "account" or what.account is not None}

    def limit(self, name: str, limits: Mapping[str, int]) -> int | None:
        """What a cap allows: as declared, or less where it adapts."""
        declared = self.caps[name].at_most
        return declared if declared is None else min(declared, limits.get(name, declared))

    def broken(self, what: Row, at: datetime, zone: tzinfo, without: Sequence[str] = ()) -> list[str]:
        """The caps that a send at `at` would break."""
        return [
            name
            for name, cap in self.binding(what).items()
            if not has_room(
                at, cap, self.limit(name, what.limits), [r.at for r in self.others(what, cap, without)], zone
            )
        ]

    def opening(self, what: Row, start: datetime, zone: tzinfo) -> datetime | None:
        """The first instant from `start` on that breaks nothing; null when there is none."""
        caps = self.binding(what)
        booked = [r.at for cap in caps.values() for r in self.others(what, cap)]
        openings = edges(start, caps.values(), booked, zone)
        return next((at for at in openings if not self.broken(what, at, zone)), None)

    def late_breaks(self, what: Row, zone: tzinfo, newer: Collection[str]) -> list[str]:
        """The caps broken by a hand-off at `what.at`, bookings ahead that give way and what bypasses caps left out.
        `newer`: granted after it was asked: together they keep the hard caps (if it counts), each its own limit where a
        cap adapts."""
        at = what.at
        aside = [
            r.message_id for r in self.rows.values() if (r.gives_way and r.at > at) or (not r.obeys and r.at == at)
        ]
        then = self.broken(what, at, zone, [*aside, *newer])
        if then or not what.counts:
            return then
        return self.broken(replace(what, limits={}), at, zone, aside)
