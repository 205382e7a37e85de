"""Assignment: which variation of each experiment a customer belongs to. Pure, salted, the same on every machine.

Two independent hashes. The layer's decides whether an experiment owns the customer at all, the experiment's own salt
which variation it is. What is hashed is the pseudonymous unit and not the customer id: the data scientist, who sees
units only, can compute every assignment again, and nobody can aim for a variation by choosing an id.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from opportune.domain.experiments import GLOBAL_HOLDOUT, HELD, OPEN, campaign_holdout
from opportune.playbook.load import Playbook
from opportune.playbook.schema import Experiment

_PRIME, _OFFSET, _MASK = 0x01000193, 0x811C9DC5, 0xFFFFFFFF


def fnv1a32(text: str) -> int:
    """FNV-1a, 32 bits, over the text's UTF-8 bytes."""
    found = _OFFSET
    for byte in text.encode("utf-8"):
        found = ((found ^ byte) * _PRIME) & _MASK
    return found


def hash_v2(seed: str, value: str) -> float:
    """GrowthBook's hash, version 2: one of 0, 0.0001 ... 0.9999, independent between seeds."""
    return fnv1a32(str(fnv1a32(seed + value))) % 10000 / 10000


def assign(unit: str, now: datetime, is_test: bool, env: Mapping[str, Any], playbook: Playbook) -> dict[str, str]:
    """Experiment -> variation of one customer at `now`, holdouts included; empty for a test customer.

    `env`: `features` and `traits`, which audiences read. Who is in the global holdout takes part in nothing else, so
    that no experiment is watered down by messages that never went.
    """
    spec = playbook.spec
    found: dict[str, str] = {}
    if is_test:
        return found
    if spec.holdout.share > 0:
        is_held = hash_v2(spec.holdout.salt, unit) < spec.holdout.share
        found[GLOBAL_HOLDOUT] = HELD if is_held else OPEN
        if is_held:
            return found
    for name, campaign in spec.campaigns.items():
        if campaign.holdout > 0:
            experiment = campaign_holdout(name)
            found[experiment] = HELD if hash_v2(experiment, unit) < campaign.holdout else OPEN
    for name, experiment_spec in spec.experiments.items():
        if is_running(experiment_spec, now) and owns(name, experiment_spec, unit):
            if experiment_spec.when is not None and not playbook.holds(experiment_spec.when, env):
                continue
            found[name] = variation_of(name, experiment_spec, unit)
    return found


def is_running(experiment: Experiment, now: datetime) -> bool:
    """Started and not ended."""
    return (experiment.starts_at is None or experiment.starts_at <= now) and (
        experiment.ends_at is None or now < experiment.ends_at
    )


def owns(name: str, experiment: Experiment, unit: str) -> bool:
    """The experiment's part of its layer holds the unit; without a layer it has one of its own."""
    low, high = experiment.share
    if (low, high) == (0.0, 1.0):
        return True
    seed = f"layer:{experiment.layer}" if experiment.layer else f"layer:experiment:{experiment.salt or name}"
    return low <= hash_v2(seed, unit) < high


def variation_of(name: str, experiment: Experiment, unit: str) -> str:
    """The variation whose share of the weights, in alphabetical order, holds the unit's hash."""
    at = hash_v2(experiment.salt or name, unit)
    names = sorted(experiment.variations)
    total = sum(v.weight for v in experiment.variations.values())
    upto = 0.0
    for variation in names:
        upto += experiment.variations[variation].weight / total
        if at < upto:
            return variation
    return names[-1]


def shares(experiment: Experiment) -> dict[str, float]:
    """Declared share of each variation among those who take part; sums to 1."""
    total = sum(v.weight for v in experiment.variations.values())
    return {name: v.weight / total for name, v in sorted(experiment.variations.items())}
