"""The definition of a journey that a customer sets out with and stays on, whatever becomes of the playbook."""

import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache

import orjson

from opportune.playbook.conditions import Condition, compile_condition
from opportune.playbook.journey_graph import after, step_names
from opportune.playbook.journey_references import JOURNEY_ROOTS, conditions_in
from opportune.playbook.journeys import Journey, Step
from opportune.playbook.load import Playbook
from opportune.playbook.schema import Goal
from opportune.playbook.triggers import On

_AUDIENCE = re.compile(r"\baudience\.(\w+)")


@dataclass(frozen=True, slots=True, eq=False)
class Definition:
    """One version of a journey, compiled. `source`: JSON from which `read` makes it again; `version`: its hash.

    `key`: the property by which the trigger tells instances apart; null: it does not.
    """

    name: str
    version: str
    source: bytes
    journey: Journey
    goal: On | None
    key: str | None
    names: tuple[str, ...]
    conditions: dict[str, Condition]

    @property
    def first(self) -> str:
        """The step it begins with."""
        return self.names[0]

    def step(self, name: str) -> Step:
        """The step of this name. Raises KeyError."""
        if name not in self.names:
            raise KeyError(name)
        return self.journey.steps[self.names.index(name)]

    def after(self, name: str) -> str:
        """Where a step leads when nothing else is said."""
        return after(self.journey, self.names.index(name))

    def otherwise(self, name: str) -> str:
        """Where it leads when it came out badly: its `else`, else as ever."""
        return self.step(name).else_ or self.after(name)

    @property
    def ons(self) -> tuple[On, ...]:
        """Every event it may wait for or end by."""
        waits = (step.wait_until.on for step in self.journey.steps if step.wait_until is not None)
        found = (self.goal, *(leave.on for leave in self.journey.exit), *waits)
        return tuple(on for on in found if on is not None)


#: By (hash of the playbook, name): worked out once, asked at every firing and step.
_CURRENT: dict[tuple[str, str], Definition] = {}
_MOST_CURRENT = 1024


def definition_of(name: str, playbook: Playbook) -> Definition:
    """The journey of this name as the playbook has it now. Raises KeyError when it has none."""
    found = _CURRENT.get((playbook.hash, name))
    if found is None:
        if len(_CURRENT) >= _MOST_CURRENT:
            _CURRENT.clear()
        found = _CURRENT[playbook.hash, name] = read(_written(name, playbook))
    return found


def _written(name: str, playbook: Playbook) -> bytes:
    spec = playbook.spec
    journey, trigger = spec.journeys[name], spec.triggers[spec.journeys[name].start]
    goal = spec.goals[journey.goal] if journey.goal is not None else None
    keys = (on.key for on in (*trigger.on, *trigger.steps, *trigger.interest) if on.key is not None)
    texts = " ".join(text for _, text, _ in conditions_in(name, journey))
    tree = {
        "name": name,
        "journey": journey.model_dump(mode="json", by_alias=True),
        "goal": goal.model_dump(mode="json", by_alias=True) if goal is not None else None,
        "key": next(keys, None),
        "audiences": {audience: spec.audiences[audience] for audience in sorted(set(_AUDIENCE.findall(texts)))},
    }
    return orjson.dumps(tree, option=orjson.OPT_SORT_KEYS)


@lru_cache(maxsize=1024)
def read(source: bytes) -> Definition:
    """The definition stored as this. Raises ValueError for what is none."""
    tree = orjson.loads(source)
    journey = Journey.model_validate(tree["journey"])
    goal = Goal.model_validate(tree["goal"]) if tree["goal"] is not None else None
    return Definition(
        name=tree["name"],
        version="sha256:" + hashlib.sha256(source).hexdigest(),
        source=source,
        journey=journey,
        goal=On(event=goal.event, when=goal.when) if goal is not None else None,
        key=tree["key"],
        names=step_names(journey),
        conditions={
            text: compile_condition(text, None, JOURNEY_ROOTS, tree["audiences"])
            for text in (
                *(found for _, found, _ in conditions_in(tree["name"], journey)),
                *((goal.when,) if goal is not None and goal.when is not None else ()),
            )
        },
    )
