"""How a feature is declared: taps say which events are heard, features how they are summed up. Data only.

A `Tap` may keep single operations (`keeps`) beside or instead of hourly sums; a `Feature` with `of` or `rungs` or
`weights` is derived: a pure function of features declared before it, which costs no state.
"""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Literal

#: Between several texts kept as one, such as the categories of an order.
SEPARATOR = "\x1f"


class Stat(StrEnum):
    """How the events of a tap become one value. "None": no such event; windows: see `Feature`."""

    COUNT = "count"  # number of events; none: 0
    DAYS = "days"  # number of different UTC days with an event (window at most 90 days long); none: 0
    SUM = "sum"  # sum of the tap's value, major units; none: 0.0
    MEAN = "mean"  # mean of the tap's value, major units; none: null
    SHARE = "share"  # events of this tap per event of the tap `than`, same window; null when there is none of those
    TREND = "trend"  # events a day in `window` over events a day in `against`, which is longer; null without the latter
    DECAYED = "decayed"  # each event weighs 0.5 ** (hours ago / half life); none: 0.0
    FIRST_AGE = "first_age"  # days from the first event to now; none: null
    LAST_AGE = "last_age"  # days from the last event to now; none: null
    MEAN_GAP = "mean_gap"  # mean days between two events; null with fewer than two
    AFTER = "after"  # days from the last event of the tap `than` to the last of this, negative: before; none: null
    HOURS = "hours"  # 24 counts by UTC hour of day; none: zeros
    HOURS_OF_WEEK = "hours_of_week"  # 168 weights by UTC hour of week, Monday 0:00 first, smoothed; none: zeros
    HOURS_OF_DAY = "hours_of_day"  # the same folded into 24
    # of kept operations
    CART_ITEMS = "cart_items"  # units left in the cart; 0 when empty
    CART_VALUE = "cart_value"  # value left in the cart, in major units; 0.0 when empty
    CART_PRODUCTS = "cart_products"  # ids left in the cart, in order of text, `, ` between; null when none has an id
    LETTERS_SENT = "letters_sent"  # 24 counts of letters by UTC hour of their sending; zeros when none
    LETTERS_OPENED = "letters_opened"  # the same, of those letters that were opened
    LEAST = "least"  # smallest `part`, minor units told in major; none: null
    MOST = "most"  # largest
    GAP_MEDIAN = "gap_median"  # median days between two operations; null with fewer than two
    GAP_VARIATION = "gap_variation"  # standard deviation of those gaps over their mean; null with fewer than two gaps
    TOP = "top"  # the text of `part` met most often, of equals the first in order; none: null
    TOPS = "tops"  # the three met most often, `, ` between; none: null
    TOP_SHARE = "top_share"  # how much of all met is the top one, in (0, 1]; none: null
    DISTINCT = "distinct"  # how many different texts of `part`; none: 0
    TOP_GAP_MEAN = "top_gap_mean"  # as GAP_..., of the operations that hold the top text of `part`
    TOP_GAP_MEDIAN = "top_gap_median"
    TOP_GAP_VARIATION = "top_gap_variation"
    SESSIONS = "sessions"  # sessions begun in the window: visits at most 30 minutes apart; none: 0
    SESSION_EVENTS = "session_events"  # visits in the session that goes on now; 0 when none does
    SESSION_MINUTES = "session_minutes"  # minutes from its first to its last visit; 0.0 when none goes on
    SESSION_DEPTH = "session_depth"  # the largest `part` in it; 0 when none goes on
    NEWEST = "newest"  # `part` of the newest operation, else of the tap `than`; null when none or not said
    NEWEST_AGE = "newest_age"  # days from the instant in `part` of the newest operation to now; null likewise
    IS_OUT = "is_out"  # whether the newest operation of this tap, or of `than`, says out; none: false
    # derived
    DIFFERENCE = "difference"  # the first of `of` minus the second; null when either is
    RATIO = "ratio"  # the first of `of` over the second; null when either is or the second is 0
    WEIGHTED = "weighted"  # sum of weight x min(value, full) / full over `weights`; null counts 0
    LADDER = "ladder"  # the label of the first of `rungs` all of whose tests hold; null when none does
    LOCAL_HOUR = "local_hour"  # 0-23 in the zone that `of` names; UTC when it is null
    LOCAL_WEEKDAY = "local_weekday"  # Monday 0 to Sunday 6 there
    IS_WEEKEND = "is_weekend"  # Saturday or Sunday there


#: Made of kept operations: all between these two in the list above.
OF_OPS = tuple(list(Stat)[list(Stat).index(Stat.CART_ITEMS) : list(Stat).index(Stat.DIFFERENCE)])
#: Made of hourly tiles; without a window, COUNT and SUM of all-time sums.
OF_TILES = (
    Stat.COUNT,
    Stat.DAYS,
    Stat.SUM,
    Stat.MEAN,
    Stat.SHARE,
    Stat.TREND,
    Stat.DECAYED,
    Stat.HOURS_OF_WEEK,
    Stat.HOURS_OF_DAY,
)
#: Made of all-time sums, first and last instants.
OF_TOTALS = (Stat.FIRST_AGE, Stat.LAST_AGE, Stat.MEAN_GAP, Stat.AFTER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One value kept of an operation: a measure (`null` where the event has none), or a number by event name."""

    name: str
    measure: str | None = None
    null: int | str = 0
    by_event: tuple[tuple[str, int], ...] = ()  # of other events: `null`


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeps:
    """The newest `at_most` operations of a tap are kept one by one, at most `window` old (null: for ever).

    `since_last`: only those after the last event of that tap.
    """

    parts: tuple[Part, ...]
    at_most: int
    window: timedelta | None = None
    since_last: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tap:
    """Which events are heard. `events` null: every event but `but_not`. `origins` null: any origin.

    `where`: (measure, value) pairs that must all be equal. `needs`: one of these measures must be there.
    `value`: the integer measure in minor units that SUM adds.
    """

    name: str
    events: tuple[str, ...] | None = None
    but_not: tuple[str, ...] = ()
    origins: tuple[str, ...] | None = None
    where: tuple[tuple[str, bool | str], ...] = ()
    needs: tuple[str, ...] = ()
    value: str | None = None
    keeps: Keeps | None = None


#: One test of a rung: feature, one of >= > <= < ==, number. A null value passes no test.
Test = tuple[str, str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """One feature of one customer (`key`). `window` null: all time; else (hour of (t - window), t], t included.

    The old edge is cut down to the UTC hour, so that hourly tiles are exact at every instant.
    """

    name: str
    stat: Stat
    dtype: Literal["int", "float", "bool", "vector", "text"]
    unit: str
    null_meaning: str
    description: str
    tap: str = ""  # none: derived
    window: timedelta | None = None
    key: str = "customer_id"
    owner: str = "lifecycle"
    size: int = 1  # numbers in a vector
    than: str | None = None  # the other tap
    against: timedelta | None = None  # the longer window of TREND
    half_life: timedelta | None = None
    part: str | None = None
    of: tuple[str, ...] = ()
    rungs: tuple[tuple[str, tuple[Test, ...]], ...] = ()
    weights: tuple[tuple[str, float, float], ...] = ()  # feature, weight, value that earns it in full

    @property
    def inputs(self) -> tuple[str, ...]:
        """The features it is derived from, each once; empty when it is not."""
        tested = tuple(name for _, tests in self.rungs for name, _, _ in tests)
        return tuple(dict.fromkeys((*self.of, *tested, *(name for name, _, _ in self.weights))))


def days(n: int | None) -> timedelta | None:
    """A window of whole days; null: all time."""
    return None if n is None else timedelta(days=n)


def over(window: timedelta | None) -> str:
    """A window in words."""
    if window is None:
        return "all time"
    hours = window // timedelta(hours=1)
    n, unit = (hours // 24, "day") if hours % 24 == 0 else (hours, "hour")
    return f"last {unit}" if n == 1 else f"last {n} {unit}s"


def count(name: str, tap: str, window: timedelta | None, what: str) -> Feature:
    """Number of events of a tap."""
    return Feature(
        name=name,
        tap=tap,
        stat=Stat.COUNT,
        dtype="int",
        unit="events",
        null_meaning="never null: no such event is 0",
        description=f"{what}, {over(window)}.",
        window=window,
    )


def days_with(name: str, tap: str, n_days: int, what: str) -> Feature:
    """Number of UTC days with an event of a tap."""
    return Feature(
        name=name,
        tap=tap,
        stat=Stat.DAYS,
        dtype="int",
        unit="days",
        null_meaning="never null: no such day is 0",
        description=f"{what}, {over(days(n_days))}.",
        window=days(n_days),
    )


def letters(name: str, stat: Stat, what: str, window: timedelta) -> Feature:
    """Letters by UTC hour of sending."""
    return Feature(
        name=name,
        tap="letters",
        stat=stat,
        dtype="vector",
        unit="letters per UTC hour of sending",
        null_meaning="never null: 24 zeros when there is none",
        description=f"{what} by UTC hour of sending, {over(window)}.",
        window=window,
        size=24,
    )


def spend(name: str, n_days: int | None) -> Feature:
    """Value of orders."""
    return Feature(
        name=name,
        tap="orders",
        stat=Stat.SUM,
        dtype="float",
        unit="major units of currency",
        null_meaning="never null: no order is 0.0",
        description=f"Value of completed orders before refunds, {over(days(n_days))}.",
        window=days(n_days),
    )


def age(name: str, tap: str, stat: Stat, null_meaning: str, what: str) -> Feature:
    """Days between two instants."""
    return Feature(
        name=name, tap=tap, stat=stat, dtype="float", unit="days", null_meaning=null_meaning, description=what
    )


def share(name: str, tap: str, than: str, n_days: int, null_meaning: str, what: str) -> Feature:
    """Events of one tap per event of another."""
    return Feature(
        name=name,
        tap=tap,
        than=than,
        stat=Stat.SHARE,
        dtype="float",
        unit="events per event",
        null_meaning=null_meaning,
        description=f"{what}, {over(days(n_days))}.",
        window=days(n_days),
    )


def text(name: str, tap: str, stat: Stat, null_meaning: str, what: str, **more: object) -> Feature:
    """A text, such as an id or a category."""
    return Feature(
        name=name,
        tap=tap,
        stat=stat,
        dtype="text",
        unit="text",
        null_meaning=null_meaning,
        description=what,
        **more,  # type: ignore[arg-type]
    )


def is_out(channel: str, than: str | None = "said_any") -> Feature:
    """Whether a channel, or everything, was closed by the newest event that says anything about it."""
    return Feature(
        name=f"is_{channel}_out",
        tap=f"said_{channel}",
        than=than,
        stat=Stat.IS_OUT,
        part="is_out",
        dtype="bool",
        unit="true or false",
        null_meaning="never null: nothing said is false",
        description=f"The newest event about {channel}{' or about all channels' if than else ''} says out.",
    )
