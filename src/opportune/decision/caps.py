"""Caps, exactly. Pure functions over instants in microseconds.

A cap is a promise about the log: after adding a send at s, every rolling window (t - W, t] that contains s, past and
future bookings included, holds at most `at_most`; so does the calendar day, week or month of s in the customer's zone
(weeks start on Monday; UTC when the zone is unknown); and s keeps at least `at_least_apart` from both its neighbours
(exactly that far apart passes). Only sends that the rule counts matter: those of the customer, or of everybody in the
customer's account. A customer without an account is under no account cap. A cap that adapts has its limit for this
customer and moment in `Book.limits`.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Any, Protocol

from opportune.domain.instants import EPOCH, from_us, to_us
from opportune.domain.messages import AccountSend, Send, SendState
from opportune.playbook.limits import Adapt
from opportune.playbook.schema import Cap, Counts

_US = timedelta(microseconds=1)
#: The limit of a cap that does not apply.
_NO_LIMIT = 1 << 62


class Counted(Protocol):
    """What a cap looks at: a send, or something that would become one."""

    @property
    def channel(self) -> str: ...
    @property
    def topic(self) -> str: ...
    @property
    def purpose(self) -> str: ...
    @property
    def campaign(self) -> str: ...
    @property
    def tags(self) -> tuple[str, ...]: ...


@dataclass(frozen=True, slots=True, eq=False)
class CapRule:
    """One cap, compiled. `window` as written; one of `window_us` (rolling) and `calendar` is set with `at_most`."""

    name: str
    counts: Counts
    at_most: int | None
    window: str | None
    window_us: int
    calendar: str | None
    apart_us: int
    is_per_account: bool = False
    adapt: Adapt | None = None

    def includes(self, what: Counted) -> bool:
        """True when every declared condition of `counts` holds for it."""
        c = self.counts
        return (
            (c.purpose is None or c.purpose == what.purpose)
            and (c.channel is None or c.channel == what.channel)
            and (c.topic is None or c.topic == what.topic)
            and (c.campaign is None or c.campaign == what.campaign)
            and (c.tag is None or c.tag in what.tags)
        )


def compile_cap(name: str, cap: Cap) -> CapRule:
    """The rule of one declared cap."""
    return CapRule(
        name=name,
        counts=cap.counts,
        at_most=cap.at_most,
        window=cap.window,
        window_us=cap.rolling // _US if cap.rolling else 0,
        calendar=cap.calendar,
        apart_us=cap.at_least_apart // _US if cap.at_least_apart else 0,
        is_per_account=cap.per == "account",
        adapt=cap.adapt,
    )


def limits_of(
    rules: Iterable[CapRule], has_account: bool, features: Mapping[str, Any], scores: Mapping[str, float]
) -> dict[CapRule, int]:
    """The limits that are other than declared: those that adapt, never above `at_most`, and, without an account, no
    limit for the caps of accounts. `scores`: name -> probability."""
    limits: dict[CapRule, int] = {}
    for rule in rules:
        if rule.is_per_account and not has_account:
            limits[rule] = _NO_LIMIT
        elif rule.adapt is not None and rule.at_most is not None:
            root, _, name = rule.adapt.by.partition(".")
            limits[rule] = min(rule.at_most, rule.adapt.limit((features if root == "features" else scores).get(name)))
    return limits


@dataclass(frozen=True, slots=True)
class Breach:
    """One promise a send would break. `kind` `at_most`: limit and found are counts (found: the fullest window without
    it); `apart`: both are whole seconds (found: distance to the nearest). `passes_us`: earliest instant at which this
    promise alone would hold; null when time does not help."""

    rule: CapRule
    kind: str
    limit: int
    found: int
    passes_us: int | None


class Book:
    """The sends that count, and their instants per rule, worked out once per rule. `limits`: see `limits_of`."""

    __slots__ = ("_account", "_binding", "_counted", "_instants", "limits")

    def __init__(
        self,
        sends: Iterable[Send],
        chosen: Iterable[tuple[int, Counted]] = (),
        account: Iterable[AccountSend] = (),
        limits: Mapping[CapRule, int] | None = None,
    ) -> None:
        """`sends`: of the customer; released ones and those that do not count are left out. `chosen`: (instant in us,
        what) of this very decision. `account`: of everybody in the customer's account, the customer's own included."""
        self._counted: list[tuple[int, Counted]] = [
            ((s.counts_at - EPOCH) // _US, s) for s in sends if s.counts and s.state is not SendState.RELEASED
        ]
        self._account: list[tuple[int, Counted]] = [((s.send_at - EPOCH) // _US, s) for s in account]
        chosen = list(chosen)
        self._counted += chosen
        self._account += chosen
        self._instants: dict[CapRule, list[int]] = {}
        self._binding: dict[CapRule, bool] = {}
        self.limits = limits or {}

    def instants(self, rule: CapRule) -> list[int]:
        """Instants of the sends this rule counts, in order."""
        found = self._instants.get(rule)
        if found is None:
            includes = rule.includes
            said = self._account if rule.is_per_account else self._counted
            if self.limits.get(rule) == _NO_LIMIT:
                said = []
            found = self._instants[rule] = sorted([us for us, what in said if includes(what)])
        return found

    def binding(self, rules: Sequence[CapRule]) -> tuple[CapRule, ...]:
        """Those of the rules that anything counted so far could break: the others hold at every instant."""
        return tuple([rule for rule in rules if self._binds(rule)]) if rules else ()

    def _binds(self, rule: CapRule) -> bool:
        found = self._binding.get(rule)
        if found is None:
            n = len(self.instants(rule))
            is_full = rule.at_most is not None and n >= self.limit(rule)
            found = self._binding[rule] = is_full or (n > 0 and rule.apart_us > 0)
        return found

    def limit(self, rule: CapRule) -> int:
        """How many this rule allows here; asked only of rules with `at_most`."""
        return self.limits.get(rule, rule.at_most or 0)


def check(
    slot_at: datetime,
    what: Counted,
    sends: Iterable[Send],
    caps: Sequence[CapRule],
    zone: tzinfo | None,
    account: Iterable[AccountSend] = (),
    limits: Mapping[CapRule, int] | None = None,
) -> tuple[list[Breach], datetime | None]:
    """The promises that sending `what` at `slot_at` would break, and the earliest instant from `slot_at` on at which
    it would pass ALL caps (null: never). `sends` and `account` are the others, without itself. `zone` null: UTC."""
    book, rules, at = Book(sends, (), account, limits), [rule for rule in caps if rule.includes(what)], to_us(slot_at)
    passes = earliest_pass(at, rules, book, zone or UTC)
    return breaches(at, rules, book, zone or UTC), None if passes is None else from_us(passes)


def breaches(at: int, rules: Sequence[CapRule], book: Book, zone: tzinfo) -> list[Breach]:
    """The promises of these rules that a send at `at` would break, in the order of the playbook."""
    broken = []
    for rule in rules:
        instants = book.instants(rule)
        if rule.at_most is not None:
            found, limit = _fullest(rule, instants, at, zone), book.limit(rule)
            if found >= limit:
                broken.append(Breach(rule, "at_most", limit, found, _room_at(rule, limit, instants, at, zone)))
        if rule.apart_us:
            nearest = _nearest(instants, at)
            if nearest < rule.apart_us:
                passes = _apart_at(rule, instants, at)
                broken.append(Breach(rule, "apart", rule.apart_us // 1_000_000, nearest // 1_000_000, passes))
    return broken


def earliest_pass(at: int, rules: Sequence[CapRule], book: Book, zone: tzinfo) -> int | None:
    """The earliest instant >= `at` at which all these rules hold; null when none ever does.

    Each rule alone gives its exact earliest instant, and no instant before it can pass: going from one to the next
    until none objects ends at the exact joint one, for openings are finitely many.
    """
    while True:
        moved = at
        for rule in rules:
            instants = book.instants(rule)
            if rule.at_most is not None and _fullest(rule, instants, moved, zone) >= (limit := book.limit(rule)):
                room = _room_at(rule, limit, instants, moved, zone)
                if room is None:
                    return None
                moved = room
            if rule.apart_us and _nearest(instants, moved) < rule.apart_us:
                moved = _apart_at(rule, instants, moved)
        if moved == at:
            return at
        at = moved


def _fullest(rule: CapRule, instants: list[int], at: int, zone: tzinfo) -> int:
    """The count of the fullest window that contains `at`, without the send itself."""
    if not instants:
        return 0
    if rule.calendar is not None:
        start, end = period(at, rule.calendar, zone)
        return bisect_left(instants, end) - bisect_left(instants, start)
    width = rule.window_us
    upto = bisect_right(instants, at)
    fullest = upto - bisect_right(instants, at - width, 0, upto)
    for index in range(upto, len(instants)):  # later bookings: windows that end at them and still hold `at`
        if instants[index] >= at + width:
            break
        fullest = max(fullest, index + 1 - bisect_right(instants, instants[index] - width))
    return fullest


def _room_at(rule: CapRule, limit: int, instants: list[int], at: int, zone: tzinfo) -> int | None:
    """The earliest instant after `at` with room under the limit: counts only fall where a send leaves its window."""
    if limit == 0:
        return None
    if rule.calendar is not None:
        start = at
        while True:
            start = period(start, rule.calendar, zone)[1]
            if _fullest(rule, instants, start, zone) < limit:
                return start
    leaving = [us + rule.window_us for us in instants[bisect_right(instants, at - rule.window_us) :]]
    return next(us for us in leaving if _fullest(rule, instants, us, zone) < limit)


def _nearest(instants: list[int], at: int) -> int:
    """Distance to the nearest counted send; very large when there is none."""
    index = bisect_left(instants, at)
    after = instants[index] - at if index < len(instants) else 1 << 62
    before = at - instants[index - 1] if index else 1 << 62
    return min(before, after)


def _apart_at(rule: CapRule, instants: list[int], at: int) -> int:
    """The earliest instant after `at` far enough from every counted send."""
    clear = (us + rule.apart_us for us in instants[bisect_right(instants, at - rule.apart_us) :])
    return next(us for us in clear if _nearest(instants, us) >= rule.apart_us)


def period(at: int, calendar: str, zone: tzinfo) -> tuple[int, int]:
    """First instant of the local `day`, `week` or `month` that holds `at`, and that of the next one."""
    on = from_us(at).astimezone(zone)
    return _period(on.year, on.month, on.day, calendar, zone)


@lru_cache(maxsize=4096)
def _period(year: int, month: int, day: int, calendar: str, zone: tzinfo) -> tuple[int, int]:
    start = datetime(year, month, day, tzinfo=zone)
    if calendar == "week":
        start -= timedelta(days=start.weekday())
        end = start + timedelta(days=7)
    elif calendar == "month":
        start = start.replace(day=1)
        end = (start + timedelta(days=32)).replace(day=1)
    else:
        end = start + timedelta(days=1)
    # Wall-clock arithmetic above, real instants here: a midnight skipped by a clock change becomes the change itself.
    return to_us(start.astimezone(UTC)), to_us(end.astimezone(UTC))
