"""Read a playbook: every YAML file of a folder merged, checked as a whole, and made ready to be asked."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path as File
from types import MappingProxyType
from typing import Any

import orjson
from pydantic import ValidationError

from opportune.features.catalog import FEATURES
from opportune.playbook.conditions import Condition, Names, compile_condition
from opportune.playbook.hearing import Hearing, hearing_of, index
from opportune.playbook.lines import Path, Place, YamlInvalid, read_yaml
from opportune.playbook.overrides import errors_in_experiments
from opportune.playbook.problems import PlaybookInvalid, Problem
from opportune.playbook.references import NAMED, Found, conditions_of, errors_in, errors_in_texts, warnings_in
from opportune.playbook.schema import PlaybookSpec
from opportune.playbook.shape import fit
from opportune.playbook.unheard import no_longer_heard

__all__ = ["DEFAULT", "Playbook", "PlaybookInvalid", "Problem", "from_source", "known_names", "load", "load_files"]

DEFAULT = File(__file__).parent / "default"
#: Small playbooks, one file each, that show one thing.
EXAMPLES = File(__file__).parent / "examples"
#: Models whose scores a condition may read.
SCORES = frozenset({"purchase", "churn", "send_time"})


def known_names() -> Names:
    """The names conditions and templates may use now: the feature catalogue and the models."""
    return Names({feature.name: feature.dtype for feature in FEATURES}, SCORES)


@dataclass(frozen=True, slots=True)
class Playbook:
    """A checked playbook, ready to be asked. Immutable; shared by threads; pickles as its source.

    `source`: canonical JSON, names in sorted order, from which `from_source` makes an equal playbook.
    `hash`: `sha256:` and the hex digest of `source`.
    """

    spec: PlaybookSpec
    hash: str
    source: bytes
    warnings: tuple[Problem, ...]
    hearing: Hearing
    _conditions: Mapping[str, Condition]
    _campaigns: Mapping[str, tuple[str, ...]]
    _journeys: Mapping[str, tuple[str, ...]]

    def holds(self, text: str | None, env: Mapping[str, Any]) -> bool:
        """Whether a condition is true in `env`; null is true. Raises ConditionInvalid for what is no condition."""
        if text is None:
            return True
        condition = self._conditions.get(text)
        return (condition or compile_condition(text)).holds(env)

    def reads(self, text: str | None) -> set[str]:
        """Dotted names a condition may read, like `scores.purchase`; empty for null."""
        if text is None:
            return set()
        return set((self._conditions.get(text) or compile_condition(text)).reads)

    def starting(self, event_name: str) -> tuple[str, ...]:
        """Triggers that one event starts, and this is it, sorted."""
        return self.hearing.starts(event_name)

    def stopping(self, event_name: str) -> tuple[str, ...]:
        """Triggers that have this event in `unless`, sorted."""
        return self.hearing.stopping.get(event_name, ())

    def campaigns_of(self, trigger_name: str) -> tuple[str, ...]:
        """Campaigns of a trigger, sorted."""
        return self._campaigns.get(trigger_name, ())

    def journeys_of(self, trigger_name: str) -> tuple[str, ...]:
        """Journeys that a trigger sets customers on, sorted."""
        return self._journeys.get(trigger_name, ())

    def __reduce__(self) -> tuple[Callable[[bytes], "Playbook"], tuple[bytes]]:
        return from_source, (self.source,)


def load(folder: File | None, now: datetime | None = None) -> Playbook:
    """The playbook of a folder: all its *.yaml; null: the packaged default. `now`: warn of what has ended by then too.
    Raises PlaybookInvalid."""
    return load_files(_read(DEFAULT if folder is None else folder), now=now)


def load_files(files: Mapping[str, bytes], names: Names | None = None, now: datetime | None = None) -> Playbook:
    """The playbook made of these files (name -> content). `names` null: those known now. Raises PlaybookInvalid."""
    problems: list[Problem] = []
    merged, places, is_whole = _merge(files, problems)
    spec, found = fit(merged)
    is_whole_spec = is_whole and not found
    found += errors_in_texts(merged, known_names() if names is None else names)
    if is_whole:  # else names would be missed that stand in the unreadable file
        found += errors_in(merged, spec)
    if is_whole_spec and not found:  # experiments change a playbook that is valid by itself
        found += errors_in_experiments(merged, spec, known_names() if names is None else names)
    problems += [_problem(path, message, places) for path, message in found]
    doubts: list[Found] = []
    if is_whole_spec:
        doubts = [*warnings_in(spec), *(no_longer_heard(spec, now) if now is not None else ())]
    warnings = sorted({_problem(path, message, places) for path, message in doubts})
    if problems:
        raise PlaybookInvalid(sorted(set(problems)), warnings)
    source = orjson.dumps(spec.model_dump(mode="json", by_alias=True), option=orjson.OPT_SORT_KEYS)
    return _ready(source, tuple(warnings))


def from_source(source: bytes) -> Playbook:
    """The playbook stored under its hash. An unknown feature is null, not an error. Raises PlaybookInvalid."""
    return _ready(source, ())


def _ready(source: bytes, warnings: tuple[Problem, ...]) -> Playbook:
    """Built from the canonical source always, so that a loaded and a stored playbook cannot differ, order included."""
    try:
        spec = PlaybookSpec.model_validate(orjson.loads(source))
        conditions = {
            text: compile_condition(text, None, roots, spec.audiences) for _, text, roots in conditions_of(spec)
        }
    except (ValidationError, ValueError) as error:
        raise PlaybookInvalid([Problem("stored playbook", 0, "", f"cannot be read: {error}")]) from error
    return Playbook(
        spec=spec,
        hash=f"sha256:{hashlib.sha256(source).hexdigest()}",
        source=source,
        warnings=warnings,
        _conditions=MappingProxyType(conditions),
        hearing=hearing_of(spec),
        _campaigns=index((c.trigger, name) for name, c in sorted(spec.campaigns.items()) if c.trigger is not None),
        _journeys=index((journey.start, name) for name, journey in sorted(spec.journeys.items())),
    )


def _read(folder: File) -> dict[str, bytes]:
    """The YAML files of a folder by name, or one file. Raises PlaybookInvalid when there is none."""
    try:
        if folder.is_file():
            return {str(folder): folder.read_bytes()}
        if not folder.is_dir():
            raise PlaybookInvalid([Problem(str(folder), 0, "", "no such folder: name one that holds *.yaml files")])
        files = sorted(item for item in folder.iterdir() if item.suffix in (".yaml", ".yml") and item.is_file())
        if not files:
            raise PlaybookInvalid([Problem(str(folder), 0, "", "no *.yaml file in this folder")])
        return {str(item): item.read_bytes() for item in files}
    except OSError as error:
        raise PlaybookInvalid([Problem(str(folder), 0, "", f"cannot be read: {error.strerror}")]) from error


def _merge(files: Mapping[str, bytes], problems: list[Problem]) -> tuple[dict[str, Any], dict[Path, Place], bool]:
    """All files as one tree, the places, and whether every file could be read.

    A named block, or another top key, in two files is a problem naming both places.
    """
    is_whole = True
    merged: dict[str, Any] = {}
    places: dict[Path, Place] = {}
    for file, data in sorted(files.items()):
        try:
            tree, found = read_yaml(data, file)
        except YamlInvalid as error:
            problems += [Problem(file, line, _dotted(path), message) for line, path, message in error.faults]
            is_whole = False
            continue
        if tree is None:
            continue
        if not isinstance(tree, dict):
            problems.append(Problem(file, 1, "", "expected keys like `triggers:` and `campaigns:` at the top"))
            is_whole = False
            continue
        twice: set[Path] = set()
        for section, value in tree.items():
            if section in NAMED and isinstance(value, dict) and isinstance(merged.get(section, {}), dict):
                blocks = merged.setdefault(section, {})
                twice |= {(section, name) for name in value if name in blocks}
                blocks.update({name: block for name, block in value.items() if name not in blocks})
            elif section in merged:
                twice.add((section,))
            elif value is not None:
                merged[section] = value
        for path in sorted(twice):
            first = places[path]
            problems.append(
                Problem(
                    file, found[path].line, _dotted(path), f"declared twice: the first is {first.file}:{first.line}"
                )
            )
        places = {**found, **places}
    return merged, places, is_whole


def _problem(path: Path, message: str, places: Mapping[Path, Place]) -> Problem:
    """A problem at the nearest place that is written down."""
    resolved: Path = ()
    written: Path = ()
    for key in path:
        if (*resolved, key) in places:
            resolved = (*resolved, key)
        elif isinstance(key, int):
            continue  # a single block where a list may stand
        written = (*written, key)
    at = places.get(resolved, Place("playbook", 0))
    return Problem(at.file, at.line, _dotted(written), message)


def _dotted(path: Path) -> str:
    return ".".join(map(str, path))
