"""The recipe: from a dataset to files for the registry. Judged out of time first, then fitted for serving. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

import numpy as np

from opportune.domain.instants import format_instant
from opportune.features import catalog, vector
from opportune.learning import manifest as manifests
from opportune.learning.calibration import Floats
from opportune.learning.dataset import Dataset
from opportune.learning.fit import Fitted, fit, fit_baseline
from opportune.learning.judge import measure, table, verdicts
from opportune.learning.spec import ModelSpec
from opportune.learning.trees import Trees


class Measured(Protocol):
    """Metrics of one way to predict."""

    def flat(self, prefix: str = "") -> dict[str, float]:
        """Name -> number."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What one training run made. `why_not`: gates that failed, empty when it passed; `too_thin`: it is a prior."""

    manifest: dict[str, Any]
    text: str
    judged_text: str
    metrics: Mapping[str, Measured]  # model, baseline, champion, base_rate: those that could be judged
    table: Sequence[Mapping[str, object]]
    gains: Mapping[str, float] = field(default_factory=dict)
    why_not: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    too_thin: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rival:
    """The champion as it was judged: a predictor over the frame of all features, knowing only what its run held out."""

    label: str
    manifest: Mapping[str, Any]
    judged_text: str

    def predict(self, frame: Any) -> Floats:
        """Probabilities for the frame's rows. Raises ValueError when it was made on other feature definitions."""
        manifests.check_definitions(self.manifest)
        if self.manifest["kind"] == "prior":
            return np.full(len(frame), float(self.manifest["p"]))
        judged = self.manifest["judged"]
        if manifests.sha256(self.judged_text) != judged["sha256"]:
            raise ValueError(f"{self.label}: judged.txt does not have the hash its manifest states")
        calibration = manifests.calibration_of(judged["calibration"])
        return calibration.apply(
            Trees(self.judged_text).raw(vector.frame_to_matrix(frame, tuple(self.manifest["features"])))
        )


def too_thin(data: Dataset, spec: ModelSpec) -> list[str]:
    """What the data lacks to train and judge, one sentence each; empty when it is enough."""
    train, held = data.split(spec.target.horizon_days)
    need = spec.minimum
    found = (
        ("training rows", len(train.rows), need.training_rows),
        ("training rows that reached the target", train.rows.n_positive, need.training_positives),
        ("held-out rows", len(held.rows), need.holdout_rows),
        ("held-out rows that reached the target", held.rows.n_positive, need.holdout_positives),
    )
    thin = [f"{n} {what}, {least} are needed" for what, n, least in found if n < least]
    if not thin and (train.rows.n_positive == len(train.rows) or held.rows.n_positive == len(held.rows)):
        thin.append("every customer reached the target: there is nothing to tell apart")
    return thin


def judge(
    data: Dataset, frame: Any, spec: ModelSpec, as_of: datetime, trained_at: datetime, rival: Rival | None
) -> Judged:
    """Fit on what was known at the held-out cut-off, judge on that cohort, then fit for serving.

    `frame` holds all features, row by row with `data`; the rival is judged on the same held-out rows.
    """
    train, held = data.split(spec.target.horizon_days)
    judged = fit(train.rows, spec)
    baseline = fit_baseline(train.rows, train.rfm, spec)
    p = {"model": judged.predict(held.rows.matrix), "baseline": baseline.predict(held.rfm)}
    newest_known = train.rows.where(train.rows.newest)
    p["base_rate"] = np.full(len(held.rows), newest_known.n_positive / len(newest_known))
    notes: list[str] = []
    if rival is not None:
        is_held = np.asarray(data.rows.cohort == len(data.cut_offs) - 1)
        try:
            p["champion"] = rival.predict(frame[is_held])
        except ValueError as problem:
            notes.append(f"not compared with the champion: {problem}")
    metrics = {who: measure(held.rows.reached, each) for who, each in p.items()}
    why_not = verdicts(
        metrics["model"],
        metrics["baseline"],
        metrics.get("champion"),
        spec.gates,
        rival.label if rival else "the champion",
    )
    served = fit(data.rows, spec) if spec.refit_with_newest else judged
    manifest = _manifest(data, spec, as_of, trained_at) | {
        "kind": "lightgbm",
        "sha256": manifests.sha256(served.text),
        "calibration": manifests.as_block(served.calibration),
        "judged": {
            "sha256": manifests.sha256(judged.text),
            "calibration": manifests.as_block(judged.calibration),
            "cohort": format_instant(data.cut_offs[-1]),
        },
        "metrics": {who: m.flat() for who, m in metrics.items()},
        "golden": _golden(held, served),
    }
    return Judged(
        manifest=manifest,
        text=served.text,
        judged_text=judged.text,
        metrics=metrics,
        table=table(format_instant(data.cut_offs[-1]), metrics),
        gains=Trees(served.text).gains(),
        why_not=tuple(why_not),
        notes=tuple(notes),
    )


def prior(data: Dataset | None, spec: ModelSpec, as_of: datetime, trained_at: datetime, why: Sequence[str]) -> Judged:
    """One p for everybody: the spec's prior, weighted with the newest matured cohort there is."""
    n = n_positive = 0
    if data is not None:
        newest = data.rows.where(data.rows.newest)
        n, n_positive = len(newest), newest.n_positive
    manifest = _manifest(data, spec, as_of, trained_at) | {
        "kind": "prior",
        "p": spec.prior.updated(n, n_positive),
        "sha256": manifests.sha256(""),
        "metrics": {},
        "golden": [],
    }
    return Judged(manifest=manifest, text="", judged_text="", metrics={}, table=[], too_thin=tuple(why))


def _manifest(data: Dataset | None, spec: ModelSpec, as_of: datetime, trained_at: datetime) -> dict[str, Any]:
    return {
        "name": spec.name,
        "version": None,  # given by the registry
        "format": manifests.FORMAT,
        "features": list(spec.features),
        "nulls": manifests.null_rules(spec.features),
        "definition_hash": catalog.definition_hash(),
        "target": spec.target.words,
        "goal": spec.target.goal,
        "horizon_days": spec.target.horizon_days,
        "data": {
            "n_rows": len(data.rows) if data else 0,
            "n_positive": data.rows.n_positive if data else 0,
            "n_customers": data.n_customers if data else 0,
            "cut_offs": [format_instant(at) for at in data.cut_offs] if data else [],
            "first_event_at": format_instant(data.first_event_at) if data else None,
            "fingerprint": data.fingerprint if data else None,
        },
        "trained_at": format_instant(trained_at),
        "as_of": format_instant(as_of),
    }


def _golden(held: Dataset, served: Fitted) -> list[dict[str, Any]]:
    return manifests.golden_rows(held.rows.matrix, served.predict(held.rows.matrix))
