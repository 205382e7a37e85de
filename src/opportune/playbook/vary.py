"""The playbook as one customer meets it: the base with what the variations they are assigned to change."""

from collections.abc import Mapping
from typing import Any

import orjson

from opportune.playbook.load import Playbook, from_source
from opportune.playbook.overrides import applied

#: Compiled once per combination of overrides, by (hash of the base, combination).
_COMPILED: dict[tuple[str, tuple[tuple[str, str], ...]], Playbook] = {}
_MOST_COMPILED = 256


def overridden(playbook: Playbook, assignments: Mapping[str, str]) -> Playbook:
    """The playbook under these assignments (experiment -> variation); the same object when they change nothing.

    Unknown experiments and variations change nothing: an assignment may outlive its experiment.
    """
    if not assignments:
        return playbook
    changing = []
    for name, variation in sorted(assignments.items()):
        experiment = playbook.spec.experiments.get(name)
        arm = experiment.variations.get(variation) if experiment is not None else None
        if arm is not None and arm.override:
            changing.append((name, variation))
    if not changing:
        return playbook
    key = playbook.hash, tuple(changing)
    found = _COMPILED.get(key)
    if found is None:
        arms = [playbook.spec.experiments[name].variations[variation].override for name, variation in changing]
        tree = applied(orjson.loads(playbook.source), *arms)
        found = from_source(orjson.dumps(tree, option=orjson.OPT_SORT_KEYS))
        if len(_COMPILED) >= _MOST_COMPILED:
            _COMPILED.clear()
        _COMPILED[key] = found
    return found


def with_override(playbook: Playbook, override: Mapping[str, Any]) -> Playbook:
    """The playbook with these dotted paths set, like `{"caps.weekly.at_most": 5}`. Raises PlaybookInvalid."""
    return from_source(orjson.dumps(applied(orjson.loads(playbook.source), override), option=orjson.OPT_SORT_KEYS))


def variants_of(playbook: Playbook) -> list[Playbook]:
    """The base and the playbook of every single variation that changes something."""
    arms = [{name: arm} for name, e in playbook.spec.experiments.items() for arm in e.variations]
    found = {p.hash: p for p in (playbook, *(overridden(playbook, arm) for arm in arms))}
    return list(found.values())
