"""Quiet hours and send windows, compiled: when a message may go, in the customer's own hours.

With no zone known an instant is open only when it is open in every place the customer may be (decision record 0003).
"""

from dataclasses import dataclass
from functools import lru_cache

from opportune.decision.openings import EVERY_DAY, Opening, Openings, opens_everywhere, second_of
from opportune.decision.zones import Zones
from opportune.domain.decisions import Reason
from opportune.playbook.reach import DAYS, QuietHours, SendWindow

QUIET_HOURS = "quiet_hours"


@dataclass(frozen=True, slots=True)
class QuietRule:
    """One block of hours. `name` and `reason` stand in removals; null fields bind everything; `waits` false: what
    meets shut hours is dropped."""

    name: str
    reason: Reason
    openings: Openings
    waits: bool
    purpose: str
    channels: tuple[str, ...] | None
    topics: tuple[str, ...] | None

    def binds(self, channel: str, purpose: str = "marketing", topic: str | None = None) -> bool:
        """True when messages of this channel, purpose and topic keep these hours."""
        is_spoken = self.channels is None or channel in self.channels
        return is_spoken and purpose == self.purpose and (self.topics is None or topic in self.topics)

    def opens_at(self, at: int, zones: Zones) -> int | None:
        """The earliest instant >= `at` (us) that is open in all of these zones; null when none is near."""
        return opens_everywhere(at, self.openings, zones)


@dataclass(frozen=True, slots=True, eq=False)
class Quiet:
    """All the blocks of hours that bind one message; never empty. Every one of them must be open. The same blocks are
    the same object, so that candidates under the same hours are told apart from others at no cost."""

    rules: tuple[QuietRule, ...]

    def shut_at(self, at: int, zones: Zones) -> QuietRule | None:
        """The first block that is shut at `at`, one that drops messages before one that lets them wait; null: open."""
        shut = [rule for rule in self.rules if rule.opens_at(at, zones) != at]
        return next((rule for rule in shut if not rule.waits), shut[0]) if shut else None


def compile_quiet(hours: QuietHours) -> QuietRule:
    """The rule of the declared quiet hours: open from their end to their start, every day."""
    start, end = second_of(hours.start), second_of(hours.end)
    opening = Opening(EVERY_DAY, 0, 0) if start == end else Opening(EVERY_DAY, end, start)
    return QuietRule(
        name=QUIET_HOURS,
        reason=Reason.QUIET_HOURS,
        openings=(opening,),
        waits=hours.otherwise == "queue",
        purpose="marketing",
        channels=hours.channels,
        topics=None,
    )


def compile_window(name: str, window: SendWindow) -> QuietRule:
    """The rule of a declared send window."""
    return QuietRule(
        name=f"send_windows.{name}",
        reason=Reason.SEND_WINDOW,
        openings=tuple(
            Opening(tuple(day in hours.days for day in DAYS), second_of(hours.opens), second_of(hours.shuts))
            for hours in window.open
        ),
        waits=window.otherwise == "queue",
        purpose=window.purpose,
        channels=window.channels,
        topics=window.topics,
    )


def quiet_for(rules: tuple[QuietRule, ...], channel: str, purpose: str, topic: str, obeys: bool) -> Quiet | None:
    """The hours that bind one message; null when none does. `obeys`: its campaign obeys quiet hours."""
    bound = tuple(rule for rule in rules if rule.binds(channel, purpose, topic)) if obeys else ()
    return _of(bound) if bound else None


@lru_cache(maxsize=1024)
def _of(bound: tuple[QuietRule, ...]) -> Quiet:
    return Quiet(bound)
