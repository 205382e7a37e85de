"""What experiments change of a playbook: applied to its tree, and checked as if somebody had written it so."""

import copy
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from opportune.domain.experiments import GLOBAL_HOLDOUT
from opportune.playbook.conditions import Names
from opportune.playbook.lines import Path
from opportune.playbook.nearest import hint
from opportune.playbook.references import Found, errors_in, errors_in_texts
from opportune.playbook.schema import Experiment, PlaybookSpec
from opportune.playbook.shape import fit, keys_at

#: What a decision reads, and so what an experiment may change: section -> number of keys that name one block of it.
OVERRIDABLE = {"campaigns": 2, "caps": 2, "quiet_hours": 1, "exploration": 1, "max_messages": 0}
_MOST_COMBINATIONS = 256


def path_of(dotted: str) -> Path:
    """The path a dotted override names."""
    return tuple(dotted.split("."))


def block_of(path: Path) -> Path:
    """The block a path lies in: `("caps", "weekly")`, `("exploration",)`, `("max_messages",)`."""
    return path[: max(1, OVERRIDABLE.get(str(path[0]), 1))]


def paths_of(experiment: Experiment) -> tuple[Path, ...]:
    """Everything any variation of an experiment changes: what a decision must read to be exposed to it."""
    return tuple(sorted({path_of(dotted) for v in experiment.variations.values() for dotted in v.override}))


def applied(tree: Mapping[str, Any], *overrides: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of the tree with these values set. Blocks on the way that are not written down are made."""
    changed = copy.deepcopy(dict(tree))
    for dotted, value in itertools.chain.from_iterable(o.items() for o in overrides):
        *way, last = dotted.split(".")
        block = changed
        for key in way:
            if not isinstance(block.get(key), dict):
                block[key] = {}
            block = block[key]
        block[last] = copy.deepcopy(value)
    return changed


def errors_in_experiments(raw: Mapping[str, Any], spec: PlaybookSpec, names: Names | None) -> Iterator[Found]:
    """What is wrong with the experiments of a playbook that is valid without them."""
    faulty: set[str] = set()
    for name, experiment in spec.experiments.items():
        for path, message in _errors_of(name, experiment, raw, spec, names):
            faulty.add(name)
            yield ("experiments", name, *path), message
    sound = {name: e for name, e in spec.experiments.items() if name not in faulty}
    yield from _layer_errors(sound)
    clashes = list(_clashes(sound))
    yield from clashes
    if not clashes:
        yield from _combination_errors(sound, raw, names)


def _errors_of(
    name: str, experiment: Experiment, raw: Mapping[str, Any], spec: PlaybookSpec, names: Names | None
) -> Iterator[Found]:
    if name == GLOBAL_HOLDOUT:
        yield (), f"`{name}` is the name of the holdout: choose another"
    if experiment.goal is not None and experiment.goal not in spec.goals:
        yield ("goal",), f"unknown goal `{experiment.goal}`{hint(experiment.goal, spec.goals)}"
    if experiment.starts_at and experiment.ends_at and experiment.ends_at <= experiment.starts_at:
        yield ("ends_at",), "ends before it starts"
    if not paths_of(experiment):
        yield ("variations",), "no variation overrides anything: say what one of them changes, under `override`"
    for variation_name, variation in experiment.variations.items():
        where: Path = ("variations", variation_name, "override")
        bad = False
        for dotted in variation.override:
            fault = _path_fault(path_of(dotted), raw, spec)
            clash = next((o for o in variation.override if o != dotted and _covers(path_of(o), path_of(dotted))), None)
            if fault or clash:
                bad = True
                yield (*where, dotted), fault or f"`{clash}` already covers this"
        if not bad and variation.override:
            for path, message in _invalid(raw, [variation.override], names):
                at = next((d for d in variation.override if _meet(path_of(d), path)), None)
                told = f"with this override the playbook is not valid: {'.'.join(map(str, path))}: {message}"
                yield (*where, *([at] if at else ())), told


def _path_fault(path: Path, raw: Mapping[str, Any], spec: PlaybookSpec) -> str | None:
    """Why this path cannot be overridden; null when it can."""
    section = str(path[0])
    if section not in OVERRIDABLE:
        sections = ", ".join(f"{s}.*" if n else s for s, n in OVERRIDABLE.items())
        return f"`{section}` cannot be overridden: an experiment changes what a decision reads, {sections}"
    if len(path) <= OVERRIDABLE[section] or (section == "max_messages" and len(path) > 1):
        return f"`{'.'.join(map(str, path))}` is no single value: name one, like `caps.weekly.at_most`"
    if section == "quiet_hours" and spec.quiet_hours is None:
        return "the playbook has no quiet hours to change: declare `quiet_hours` first"
    tree: Any = raw.get(section, {})
    for depth in range(1, len(path)):
        key = str(path[depth])
        known = keys_at(path[:depth]) or (list(tree) if isinstance(tree, Mapping) else [])
        if key not in known:
            return f"the playbook has no `{'.'.join(map(str, path[: depth + 1]))}`{hint(key, known)}"
        tree = tree.get(key) if isinstance(tree, Mapping) else None
    if section == "campaigns":
        campaign = spec.campaigns[str(path[1])]
        if path[2] == "trigger":
            return "a campaign keeps its trigger: declare a second campaign and change its `when`"
        if spec.topics[campaign.topic].purpose == "transactional":
            return "transactional messages are exempt from experiments"
        if path[2] == "holdout":
            return "a holdout is no part of an experiment: it is drawn apart"
    return None


def _invalid(raw: Mapping[str, Any], overrides: Sequence[Mapping[str, Any]], names: Names | None) -> list[Found]:
    """What is wrong with the playbook once these are applied. Texts that they leave alone are not looked at again."""
    tree = applied({section: block for section, block in raw.items() if section != "experiments"}, *overrides)
    spec, found = fit(tree)
    paths = [path_of(dotted) for override in overrides for dotted in override]
    campaigns: dict[str, Any] = {}
    for path in paths:
        if path[0] == "campaigns":
            touched = {str(p[2]) for p in paths if p[:2] == path[:2]}
            block = tree["campaigns"][path[1]]
            campaigns[str(path[1])] = {key: value for key, value in block.items() if key in touched}
    texts = {"campaigns": campaigns, "audiences": tree.get("audiences"), "caps": tree.get("caps")}
    return [*found, *errors_in_texts(texts, names), *errors_in(tree, spec)]


def _covers(short: Path, long: Path) -> bool:
    return len(short) < len(long) and long[: len(short)] == short


def _meet(a: Path, b: Path) -> bool:
    n = min(len(a), len(b))
    return a[:n] == b[:n]


def _layer_errors(experiments: Mapping[str, Experiment]) -> Iterator[Found]:
    """Parts of one layer do not overlap while both run."""
    for (first, a), (second, b) in itertools.combinations(experiments.items(), 2):
        if a.layer is None or a.layer != b.layer or _apart(a, b):
            continue
        if a.share[0] < b.share[1] and b.share[0] < a.share[1]:
            yield (
                ("experiments", second, "share"),
                f"takes the same customers of layer `{a.layer}` as experiment `{first}` "
                f"([{a.share[0]:g}, {a.share[1]:g}]): give each its own part, like `share: [0, 0.5]`",
            )


def _clashes(experiments: Mapping[str, Experiment]) -> Iterator[Found]:
    """Two experiments that may meet in one customer do not change the same value."""
    for (first, a), (second, b) in itertools.combinations(experiments.items(), 2):
        if (a.layer is not None and a.layer == b.layer) or _apart(a, b):
            continue
        for mine in paths_of(b):
            if any(_meet(mine, other) for other in paths_of(a)):
                yield (
                    ("experiments", second),
                    f"overrides `{'.'.join(map(str, mine))}` as experiment `{first}` does: put both into one `layer`",
                )


def _apart(a: Experiment, b: Experiment) -> bool:
    """True when one has ended before the other starts."""
    return bool(
        (a.ends_at and b.starts_at and a.ends_at <= b.starts_at)
        or (b.ends_at and a.starts_at and b.ends_at <= a.starts_at)
    )


def _combination_errors(
    experiments: Mapping[str, Experiment], raw: Mapping[str, Any], names: Names | None
) -> Iterator[Found]:
    """Every combination of variations that may meet in one block gives a valid block."""
    blocks = sorted({block_of(path) for e in experiments.values() for path in paths_of(e)})
    for block in blocks:
        layers: dict[str, list[Mapping[str, Any]]] = {}
        last = ""
        for name, experiment in experiments.items():
            if any(block_of(path) == block for path in paths_of(experiment)):
                last = name
                arms = layers.setdefault(f"layer {experiment.layer}" if experiment.layer else name, [])
                arms += [v.override for v in experiment.variations.values()]
        if len(layers) < 2:
            continue
        combinations = list(itertools.islice(itertools.product(*layers.values()), _MOST_COMBINATIONS + 1))
        dotted = ".".join(map(str, block))
        if len(combinations) > _MOST_COMBINATIONS:
            yield ("experiments", last), f"too many experiments change `{dotted}` at once: put some into one `layer`"
            continue
        for combination in combinations:
            for _, message in _invalid(raw, combination, names)[:1]:
                told = f"together with another experiment the playbook is not valid at `{dotted}`: {message}"
                yield ("experiments", last), f"{told}; put both into one `layer`"
                break
