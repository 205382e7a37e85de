"""Model specifications: `models/<name>/spec.yaml` read into one frozen object. What is written is what is trained."""

from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from opportune.features.catalog import BY_NAME, NUMERIC

Probability = Annotated[float, Field(ge=0, le=1)]


class Block(BaseModel):
    """Common settings: frozen, unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Target(Block):
    """What is predicted: whether an event happens in (cut-off, cut-off + horizon_days], the cut-off itself excluded.

    The event is that of `goal` (by name, from the playbook), or any activity of the playbook when `goal` is null.
    `happens` false: that it does not happen.
    """

    goal: str | None = None
    happens: bool = True
    horizon_days: int = Field(ge=1, le=730)
    words: str = Field(description="The target as users read it beside every score.")


class Population(Block):
    """Who is scored and learned from: customers active in (cut-off - active_within_days, cut-off].

    Active: one of the playbook's `activity` events; when the playbook names none, any event but `ignore`.
    Test customers, and customers who refuse profiling, are left out.
    """

    active_within_days: int = Field(ge=1)
    ignore: tuple[str, ...] = ()


class Cohorts(Block):
    """Rolling cut-offs: the newest matured one, and earlier ones `every_days` apart, at most `at_most` of them.

    The oldest keeps at least `history_days` of events before it. `at_most_rows` bounds memory: above it whole
    customers are left out by a hash of their id.
    """

    every_days: int = Field(ge=1)
    at_most: int = Field(ge=1)
    history_days: int = Field(ge=0)
    at_most_rows: int = Field(ge=1000)


class Minimum(Block):
    """Data below any of these is too thin: the prior is registered instead."""

    training_rows: int = Field(ge=1)
    training_positives: int = Field(ge=1)
    holdout_rows: int = Field(ge=1)
    holdout_positives: int = Field(ge=1)


class Prior(Block):
    """p of a customer nothing is known of, and how many customers of evidence it is worth."""

    p: Probability
    evidence: float = Field(gt=0)

    def updated(self, n: int, n_positive: int) -> float:
        """p after n customers of whom n_positive reached the target: p0 * E0/(E0+n) + rate * n/(E0+n)."""
        return (self.p * self.evidence + n_positive) / (self.evidence + n)


class Baseline(Block):
    """Features of the logistic baseline: recency, frequency, monetary."""

    recency: str
    frequency: str
    monetary: str

    @property
    def names(self) -> tuple[str, str, str]:
        """In this order."""
        return self.recency, self.frequency, self.monetary


class Gates(Block):
    """What a new model must show on the held-out cohort before it is promoted. Losses are log-loss ratios."""

    auc_at_least: Probability
    auc_below_baseline_at_most: Probability
    auc_above_baseline_at_most: Probability = Field(description="More than this smells of leakage: audit first.")
    log_loss_over_baseline_at_most: float = Field(ge=1)
    log_loss_over_champion_at_most: float = Field(ge=1)
    ece10_at_most: Probability
    observed_expected: tuple[float, float]


class ModelSpec(Block):
    """One model: target, population, data, features, parameters, gates."""

    name: str
    owner: str
    purpose: str
    target: Target
    population: Population
    cohorts: Cohorts
    minimum: Minimum
    prior: Prior
    features: tuple[str, ...] = Field(min_length=1)
    baseline: Baseline
    rounds: int = Field(ge=1, le=5000)
    parameters: dict[str, Any] = Field(default_factory=dict, description="LightGBM parameters.")
    calibration: Literal["platt", "shift"] = "platt"
    refit_with_newest: bool = Field(True, description="Serve trees refitted with the held-out cohort as well.")
    seed: int = 7
    gates: Gates

    @field_validator("features")
    @classmethod
    def _distinct(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(names)) != len(names):
            raise ValueError("a feature is named twice")
        if texts := [name for name in names if name in BY_NAME and name not in NUMERIC]:
            raise ValueError(f"{', '.join(texts)}: a model cannot read texts, only numbers and vectors")
        return names

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """All feature columns that training reads: the model's own, then the baseline's others."""
        return self.features + tuple(n for n in self.baseline.names if n not in self.features)


class HoursTarget(Block):
    """An answer counts when it comes within `answer_within_days` of sending."""

    words: str
    answer_within_days: int = Field(ge=1, le=30)


class HoursCohorts(Block):
    """Rolling windows of letters, `every_days` long; what is known of their readers ends where the window begins."""

    every_days: int = Field(ge=1)
    at_most: int = Field(ge=2)
    at_most_letters: int = Field(ge=1000)


class HoursMinimum(Block):
    """Letters below any of these are too few: the prior is registered instead. Held-out ones are of random hours."""

    training_letters: int = Field(ge=1)
    training_opened: int = Field(ge=1)
    holdout_random: int = Field(ge=1)
    holdout_random_opened: int = Field(ge=1)


class HoursGates(Block):
    """What new hours must show, off-policy on letters of random hours, before they are promoted."""

    loss_to_global_hour_at_most: float = Field(ge=0, description="In standard errors of the difference.")
    observed_expected: tuple[float, float]


class HoursSpec(Block):
    """The send-time model: no trees, smoothed and shrunk histograms of openings per letter by local hour."""

    kind: Literal["hours"]
    name: str
    owner: str
    purpose: str
    target: HoursTarget
    random_hours: dict[str, Annotated[int, Field(ge=2, le=24)]] = Field(
        default_factory=dict, description="Campaigns whose hour was drawn evenly, and among how many hours."
    )
    cohorts: HoursCohorts
    minimum: HoursMinimum
    prior: Prior
    features: tuple[Literal["active_hours", "letters_sent_hours", "letters_opened_hours"], ...] = Field(
        min_length=3, max_length=3
    )
    gates: HoursGates


AnySpec = ModelSpec | HoursSpec


def models_root() -> Path:
    """The folder with one folder per model: `models/` of the checkout, else the copy inside the installed package.

    Raises FileNotFoundError when neither is there.
    """
    package = Path(__file__).resolve().parents[1]
    for folder in (package.parents[1] / "models", package / "_shipped" / "models"):
        if any(folder.glob("*/spec.yaml")):
            return folder
    raise FileNotFoundError("no model specifications found: expected models/<name>/spec.yaml beside the package")


def known_models() -> list[str]:
    """Names of all models with a specification, sorted."""
    return sorted(path.parent.name for path in models_root().glob("*/spec.yaml"))


def read(name: str, root: Path | None = None) -> ModelSpec:
    """The specification of a model of trees. Raises as `read_any`; ValueError for a model of another kind."""
    spec = read_any(name, root)
    if not isinstance(spec, ModelSpec):
        raise ValueError(f"{name} is a model of kind {spec.kind}: it has no trees")
    return spec


def read_any(name: str, root: Path | None = None) -> AnySpec:
    """The specification of one model. Raises FileNotFoundError (no such model), ValueError (what is wrong, where)."""
    import yaml

    path = (root or models_root()) / name / "spec.yaml"
    if not path.is_file():
        raise FileNotFoundError(f"no model named '{name}': known are {', '.join(known_models())}")
    try:
        written = yaml.safe_load(path.read_text(encoding="utf-8"))
        shape = HoursSpec if isinstance(written, dict) and written.get("kind") == "hours" else ModelSpec
        spec: AnySpec = shape.model_validate(written)
    except (ValidationError, yaml.YAMLError) as problem:
        raise ValueError(f"models/{name}/spec.yaml: {problem}") from problem
    if spec.name != name:
        raise ValueError(f"models/{name}/spec.yaml: its name is '{spec.name}'")
    return spec
