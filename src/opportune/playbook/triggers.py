"""The shape of triggers: when to consider speaking. Each kind has its own keys; some keys belong to all."""

import re
from collections.abc import Mapping
from datetime import date, time, timedelta
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, model_validator

from opportune.playbook.values import Block, Duration, Instant, Name

Kind = Literal[
    "event",
    "absence",
    "sequence",
    "threshold",
    "date",
    "inactivity",
    "replenishment",
    "score",
    "audience",
    "milestone",
    "catalogue",
    "transactional",
    "request",
]
KINDS: tuple[str, ...] = get_args(Kind)
#: Kinds that every single event of `on` starts.
STARTED = ("event", "absence", "transactional")
Change = Literal["price_drop", "back_in_stock", "low_stock", "new_arrival"]

#: kind -> (keys it must have, keys it may have besides those of every kind)
KEYS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "event": (("on",), ()),
    "absence": (("on", "unless", "wait"), ()),
    "sequence": (("steps", "in"), ()),
    "threshold": (("on", "at_least", "in"), ()),
    "date": ((), ("date", "first", "occasion", "on", "every", "before", "after", "at", "feb_29")),
    "inactivity": (("inactive_for",), ("on",)),
    "replenishment": (("on", "window"), ("usual",)),
    "score": (("score", "above"), ("rearm_below",)),
    "audience": ((), ("entered", "left")),
    "milestone": (("milestone", "levels"), ("on",)),
    "catalogue": (("change",), ("interest", "within", "at_least", "at_most")),
    "transactional": (("on",), ()),
    "request": ((), ()),
}
#: Which kind a key gives away, when `kind` is left out; the first that is there counts.
_TELLING = (
    ("unless", "absence"),
    ("steps", "sequence"),
    ("change", "catalogue"),
    ("at_least", "threshold"),
    ("date", "date"),
    ("first", "date"),
    ("occasion", "date"),
    ("inactive_for", "inactivity"),
    ("window", "replenishment"),
    ("score", "score"),
    ("entered", "audience"),
    ("left", "audience"),
    ("milestone", "milestone"),
    ("on", "event"),
)
#: Keys of single kinds, as YAML writes them.
_OWN = tuple(dict.fromkeys(key for must, may in KEYS.values() for key in (*must, *may)))
_DAY = timedelta(days=1)
_YEARLY = re.compile(r"^(?:--)?(\d{2})-(\d{2})$")


def _as_list(value: object) -> object:
    """A single one may stand where a list may."""
    return value if isinstance(value, list | tuple) else [value]


class On(Block):
    """An event that starts something, per value of `key` (a property; null: one instance per customer)."""

    event: str
    when: str | None = None
    key: str | None = None


Ons = Annotated[tuple[On, ...], BeforeValidator(_as_list)]
Durations = Annotated[tuple[Duration, ...], BeforeValidator(_as_list)]
Days = Annotated[tuple[str, ...], BeforeValidator(_as_list)]


def day_of(text: str) -> tuple[int | None, int, int]:
    """(year, or null for every year; month; day) of `2026-12-25` or `12-25`. Raises ValueError for anything else."""
    yearly = _YEARLY.match(text)
    try:
        if yearly:
            leap = date(2000, int(yearly[1]), int(yearly[2]))
            return None, leap.month, leap.day
        if len(text) != 10:
            raise ValueError(text)
        one = date.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"`{text}` is not a day: write 12-25 for every year, or 2026-12-25") from error
    return one.year, one.month, one.day


class Occasion(Block):
    """Days of a shared calendar: `12-25` comes every year, `2026-11-27` once."""

    on: Days = Field((), description="Days everywhere, but for the countries named below.")
    countries: dict[str, Days] = Field(
        default_factory=dict, description="Country, as in the trait `country` -> its own days; empty: none there."
    )

    @model_validator(mode="after")
    def _complete(self) -> "Occasion":
        for text in (*self.on, *(day for days in self.countries.values() for day in days)):
            day_of(text)
        if not self.on and not any(self.countries.values()):
            raise ValueError("an occasion needs `on`: a day like 12-25 or 2026-12-25, or a list of them")
        return self


class Trigger(Block):
    """When to consider speaking. The kind is worked out from the keys, but for `transactional`."""

    kind: Kind
    # what every kind may carry
    delay: Duration = Field(timedelta(0), description="From the moment it is true to the decision.")
    when: str | None = Field(None, description="Asked when it fires: over event, features, scores, traits, context.")
    cooldown: Duration | None = Field(None, description="Not again for the same key within this time of firing.")
    expires_after: Duration = Field(timedelta(hours=24), description="A firing this late is dropped.")
    starts_at: Instant | None = None
    ends_at: Instant | None = None
    # event, absence, threshold, inactivity, replenishment, milestone, date
    on: Ons = ()
    # absence
    unless: Ons = ()
    wait: Duration | None = None
    # sequence
    steps: Ons = ()
    # sequence, threshold
    in_: Duration | None = Field(None, alias="in", description="All of it must happen within this time.")
    # threshold: how many events; catalogue: the least share of the price, like 0.1
    at_least: int | float | None = Field(None, gt=0)
    # date
    date: str | None = Field(None, description="Where the day stands: traits.birthday, or properties.x of `on`.")
    first: On | None = Field(None, description="The day is that of the first such event.")
    occasion: Name | None = Field(None, description="A day of the shared calendar, `occasions`.")
    every: Literal["year", "once"] | None = None
    before: Durations = ()
    after: Durations = ()
    at: time = Field(time(9), description="Local time of the customer on that day.")
    feb_29: Literal["feb_28", "mar_1"] = Field("feb_28", description="When 29 February is kept in other years.")
    # inactivity
    inactive_for: Duration | None = None
    # replenishment
    window: Duration | None = Field(None, description="Opens so long before the predicted day, ends so long after it.")
    usual: Duration | None = Field(None, description="How long one lasts while the customer's own gap is not known.")
    # score
    score: str | None = None
    above: float | None = Field(None, ge=0, le=1)
    rearm_below: float | None = Field(None, ge=0, le=1, description="Fires again only after the score was below this.")
    # audience
    entered: Name | None = None
    left: Name | None = None
    # milestone
    milestone: str | None = Field(None, description="The value: features.x, traits.x, or properties.x of `on`.")
    levels: tuple[int | float | str, ...] = ()
    # catalogue
    change: Change | None = None
    interest: Ons = Field((), description="Events that show interest in an item, each with the item as `key`.")
    at_most: int = Field(5, ge=1, description="low_stock: so many or fewer are left.")
    within: Duration = Field(timedelta(days=90), description="Interest this old has expired.")

    @model_validator(mode="before")
    @classmethod
    def _infer(cls, data: object) -> object:
        if isinstance(data, dict) and "kind" not in data:
            kind = next((kind for key, kind in _TELLING if data.get(key) not in (None, [], ())), "request")
            return {**data, "kind": kind}
        return data

    @model_validator(mode="after")
    def _complete(self) -> "Trigger":
        must, may = KEYS[self.kind]
        given = [key for key in _OWN if key_name(key) in self.model_fields_set and self._says(key)]
        missing = [key for key in must if key not in given]
        if missing:
            needed = " and ".join(", ".join(f"`{key}`" for key in must).rsplit(", ", 1))
            raise ValueError(f"{_a(self.kind)} trigger needs {needed}: add `{missing[0]}`")
        for key in given:
            if key not in (*must, *may):
                raise ValueError(f"`{key}` belongs to {_owners(key, given)} triggers; this one is of kind {self.kind}")
        fault = _FAULTS.get(self.kind, _no_fault)(self)
        if fault:
            raise ValueError(fault)
        return self

    def _says(self, key: str) -> bool:
        """Whether the key is written down with something else than its default (a stored playbook writes all)."""
        name = key_name(key)
        return bool(getattr(self, name) != type(self).model_fields[name].get_default(call_default_factory=True))

    @property
    def offsets(self) -> tuple[timedelta, ...]:
        """date: days from the day itself, negative before it, ascending; the day itself when none is named."""
        return tuple(sorted({*(-span for span in self.before), *self.after})) or (timedelta(0),)

    @property
    def rearms_below(self) -> float:
        """score: below this it may fire again; a tenth below `above`, or half of it, when not said."""
        above = self.above or 0.0
        return self.rearm_below if self.rearm_below is not None else max(above - 0.1, above / 2)

    @property
    def hears(self) -> tuple[On, ...]:
        """Every event this trigger looks at, those that stop it included."""
        return (*self.on, *self.unless, *self.steps, *((self.first,) if self.first else ()), *self.interest)


def key_name(key: str) -> str:
    """The attribute behind a YAML key."""
    return "in_" if key == "in" else key


def _a(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aei" else f"a {kind}"


def _owners(key: str, given: list[str]) -> str:
    """The kinds that have a key, each with what it would still need."""
    kinds = []
    for kind, (must, may) in KEYS.items():
        if key in (*must, *may):
            lacks = [f"`{one}`" for one in must if one not in given]
            kinds.append(f"{kind} (with {' and '.join(lacks)})" if lacks else kind)
    return " and ".join(kinds)


def _no_fault(trigger: Trigger) -> str | None:
    return None


def _fault_of_threshold(trigger: Trigger) -> str | None:
    if trigger.at_least != int(trigger.at_least or 0):
        return f"`at_least: {trigger.at_least}` counts events: write a whole number"
    return _keys_fault(trigger.on, "on")


def _fault_of_sequence(trigger: Trigger) -> str | None:
    if len(trigger.steps) < 2:
        return "a sequence has at least two `steps`"
    return _keys_fault(trigger.steps, "steps")


def _keys_fault(ons: tuple[On, ...], where: str) -> str | None:
    if len({on.key is None for on in ons}) > 1:
        return f"give every event of `{where}` a key, or none: they are matched by it"
    return None


def _fault_of_date(trigger: Trigger) -> str | None:
    named = [key for key in ("date", "first", "occasion") if getattr(trigger, key) is not None]
    if len(named) != 1:
        return "a date trigger needs one of `date`, `first` and `occasion`"
    if any(span % _DAY for span in (*trigger.before, *trigger.after)):
        return "`before` and `after` are whole days, like 7d; `at` is the hour"
    if trigger.at.tzinfo is not None:
        return "`at` is local to the customer: leave the zone out"
    if trigger.occasion is not None and trigger.every is not None:
        return "`every` stands in the occasion itself: 12-25 comes every year, 2026-12-25 once"
    if trigger.date is not None and trigger.every is None:
        return "say `every: year` for a birthday or anniversary, `every: once` for a day that comes once"
    is_property = trigger.date is not None and trigger.date.startswith("properties.")
    if is_property != bool(trigger.on):
        return "`on` says which event carries the day: it goes with `date: properties.<name>`, and only with it"
    if trigger.first is not None and trigger.before and trigger.every == "once":
        return "nobody knows a first event before it happens: use `after`, or `every: year`"
    return None


def _fault_of_score(trigger: Trigger) -> str | None:
    if trigger.rearm_below is not None and trigger.above is not None and trigger.rearm_below > trigger.above:
        return "`rearm_below` is above `above`: it must be lower, so that a score on the edge does not flap"
    return None


def _fault_of_audience(trigger: Trigger) -> str | None:
    if (trigger.entered is None) == (trigger.left is None):
        return "an audience trigger needs `entered` or `left`, with the name of an audience"
    return None


def _fault_of_milestone(trigger: Trigger) -> str | None:
    is_property = (trigger.milestone or "").startswith("properties.")
    if is_property != bool(trigger.on):
        return "`on` says which event carries the value: it goes with `milestone: properties.<name>`, and only with it"
    if any(on.key is not None for on in trigger.on):
        return "a level is passed once per customer: leave `key` out"
    if len({isinstance(level, str) for level in trigger.levels}) > 1:
        return "`levels` are all numbers or all texts"
    if not isinstance(trigger.levels[0], str) and list(trigger.levels) != sorted(set(trigger.levels)):
        return "`levels` go up: write the smallest first, each once"
    return None


def _fault_of_catalogue(trigger: Trigger) -> str | None:
    if trigger.at_least is not None and (trigger.change != "price_drop" or trigger.at_least >= 1):
        return "`at_least` is the least share of the price that must fall, like 0.1, for `change: price_drop`"
    if trigger.change != "low_stock" and trigger.at_most != 5:
        return "`at_most` says how few must be left, for `change: low_stock`"
    return None


_FAULTS: Mapping[str, Any] = {
    "threshold": _fault_of_threshold,
    "sequence": _fault_of_sequence,
    "date": _fault_of_date,
    "score": _fault_of_score,
    "audience": _fault_of_audience,
    "milestone": _fault_of_milestone,
    "catalogue": _fault_of_catalogue,
}
