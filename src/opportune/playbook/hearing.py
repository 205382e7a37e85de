"""Which triggers care about an event of this name, by the mechanism that fires them. Worked out once per playbook."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import orjson

from opportune.features.taps import EMAIL_OUTCOMES
from opportune.playbook.schema import PlaybookSpec
from opportune.playbook.triggers import STARTED, Trigger

Index = Mapping[str, tuple[str, ...]]
#: Traits that say where a customer is.
PLACE_TRAITS = ("timezone", "country", "continent", "region")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hearing:
    """Rules (trigger names, sorted) by the event they hear, and those that hear none.

    `starting`: every such event starts or restarts them. `by_any`: so does any event but what comes of our own
    messages (inactivity without a list of its own). `stopping`: `unless`. `counting`: sequences and thresholds.
    `planning`: date and replenishment triggers whose day such events say. `stating`: milestones whose value they say.
    `by_trait`: date triggers by the trait their day stands in. `planned`, `watched`, `inactive`: all rules of the kind;
    `on_calendar`: those on an occasion. `digest`: changes when anything a sweep looks at does.
    """

    starting: Index
    by_any: tuple[str, ...]
    stopping: Index
    counting: Index
    planning: Index
    stating: Index
    by_trait: Index
    planned: tuple[str, ...]
    on_calendar: tuple[str, ...]
    inactive: tuple[str, ...]
    watched: tuple[str, ...]
    digest: str

    def starts(self, event_name: str) -> tuple[str, ...]:
        """Rules that an event of this name starts."""
        named = self.starting.get(event_name, ())
        if not self.by_any or event_name in EMAIL_OUTCOMES:
            return named
        return tuple(sorted({*named, *self.by_any}))

    def planning_names(self, rules: Iterable[str], spec: PlaybookSpec) -> set[str]:
        """Names of the events that say the days of these rules."""
        return {on.event for rule in rules for on in spec.triggers[rule].hears}

    @property
    def is_swept(self) -> bool:
        """True when some trigger may fire for a customer who does nothing."""
        return bool(self.planned or self.inactive or self.watched)


def hearing_of(spec: PlaybookSpec) -> Hearing:
    """The indexes of a playbook."""
    triggers = sorted(spec.triggers.items())

    def of(*kinds: str) -> list[tuple[str, Trigger]]:
        return [(name, trigger) for name, trigger in triggers if trigger.kind in kinds]

    activity = [(event, name) for name, t in of("inactivity") if not t.on for event in spec.activity]
    watched = tuple(name for name, t in of("score", "audience", "milestone") if not t.on)
    return Hearing(
        starting=index([*((on.event, name) for name, t in of(*STARTED, "inactivity") for on in t.on), *activity]),
        by_any=tuple(name for name, t in of("inactivity") if not t.on and not spec.activity),
        stopping=index((on.event, name) for name, t in triggers for on in t.unless),
        counting=index((on.event, name) for name, t in of("sequence", "threshold") for on in t.hears),
        planning=index((on.event, name) for name, t in of("date", "replenishment") for on in t.hears),
        stating=index((on.event, name) for name, t in of("milestone") for on in t.on),
        by_trait=index(
            (t.date.split(".")[1], name)
            for name, t in of("date")
            if t.date is not None and t.date.startswith("traits.")
        ),
        planned=tuple(name for name, _ in of("date", "replenishment")),
        on_calendar=tuple(name for name, t in of("date") if t.occasion is not None),
        inactive=tuple(name for name, _ in of("inactivity")),
        watched=watched,
        digest=_digest(spec),
    )


def index(pairs: Iterable[tuple[str, str]]) -> Index:
    """Name -> the rules paired with it, each once, in order."""
    found: dict[str, dict[str, None]] = {}
    for key, name in pairs:
        found.setdefault(key, {})[name] = None
    return MappingProxyType({key: tuple(sorted(names)) for key, names in found.items()})


def _digest(spec: PlaybookSpec) -> str:
    kinds = ("date", "replenishment", "inactivity", "score", "audience", "milestone")
    said = {
        "triggers": {n: t.model_dump(mode="json") for n, t in spec.triggers.items() if t.kind in kinds},
        "occasions": {n: o.model_dump(mode="json") for n, o in spec.occasions.items()},
        "audiences": spec.audiences,
        "activity": spec.activity,
    }
    return hashlib.sha256(orjson.dumps(said, option=orjson.OPT_SORT_KEYS)).hexdigest()[:24]
