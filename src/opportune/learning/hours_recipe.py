"""The recipe of the send-time model: fitted on older letters, judged off-policy on newer ones, fitted again. Pure."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np

from opportune.domain.instants import format_instant
from opportune.features import catalog
from opportune.learning import manifest as manifests
from opportune.learning.calibration import Floats
from opportune.learning.hours import Histories, Letters, PolicyValue, best_hours, fit, p_open, snips
from opportune.learning.recipe import Judged
from opportune.learning.spec import HoursSpec
from opportune.learning.timing import HoursModel
from opportune.ports import ModelFiles

#: Local hours with at least this share of the random letters are judged; nothing is known of the others.
LEAST_SHARE = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class HoursData:
    """Letters, and what was known of their readers where their cohort began (`letters.row` points into `known`)."""

    letters: Letters
    known: Histories
    by_utc: Floats  # (rows, 72): the features as they are stored, for golden rows
    cut_offs: tuple[datetime, ...]
    n_customers: int
    first_event_at: datetime

    @property
    def is_held(self) -> Any:
        """Mask of the newest cohort's letters."""
        return self.letters.cohort == len(self.cut_offs) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class HourMetrics:
    """One way to choose the hour, judged on letters of random hours; share opened, its standard error, letters."""

    value: float
    se: float
    n: int

    def flat(self, prefix: str = "") -> dict[str, float]:
        """Name -> number, as run logs want them; what is not known is left out."""
        found = {"snips": self.value, "snips_se": self.se, "n": float(self.n)}
        return {f"{prefix}{k}": v for k, v in found.items() if np.isfinite(v)}


def too_thin(data: HoursData, spec: HoursSpec) -> list[str]:
    """What the letters lack to train and judge, one sentence each; empty when it is enough."""
    held = data.letters.where(data.is_held)
    old, random = data.letters.where(~data.is_held), held.where(np.isfinite(held.p_hour))
    need = spec.minimum
    found = (
        ("training letters", len(old), need.training_letters),
        ("training letters that were opened", int(old.opened.sum()), need.training_opened),
        ("held-out letters of random hours", len(random), need.holdout_random),
        ("held-out letters of random hours that were opened", int(random.opened.sum()), need.holdout_random_opened),
    )
    return [f"{n} {what}, {least} are needed" for what, n, least in found if n < least]


def judge(data: HoursData, spec: HoursSpec, as_of: datetime, trained_at: datetime) -> Judged:
    """Fit on all cohorts but the newest, judge on its random letters, then fit on all for serving."""
    made = fit(data.letters.where(~data.is_held), data.known)
    held = data.letters.where(data.is_held & np.isfinite(data.letters.p_hour))
    known = data.known.take(held.row)
    allowed = np.flatnonzero(np.bincount(held.hour, minlength=24) >= LEAST_SHARE * len(held)).tolist()
    shapes, _, parts = made.shapes(known)
    everybody = np.tile(made.everybody, (len(held), 1))
    ways = {
        "model": snips(held, best_hours(shapes, allowed)),
        "part_of_day": snips(held, best_hours(made.parts[parts], allowed)),
        "global_hour": snips(held, best_hours(everybody, allowed)),
    }
    even = float((held.opened / held.p_hour).sum() / (1 / held.p_hour).sum())
    metrics = {
        **{who: HourMetrics(value=v.value, se=v.se, n=v.n) for who, v in ways.items()},
        "random_hour": HourMetrics(value=even, se=float(held.opened.std() / np.sqrt(len(held))), n=len(held)),
    }
    p = p_open(made, held, known)
    observed_expected = float(held.opened.sum() / p.sum())
    served = fit(data.letters, data.known)
    text = json.dumps(served.to_json(), sort_keys=True)
    manifest = _manifest(data, spec, as_of, trained_at) | {
        "kind": "hours",
        "sha256": manifests.sha256(text),
        "own_weight": served.own_weight,
        "level_weight": served.level_weight,
        "metrics": {who: m.flat() for who, m in metrics.items()},
        "golden": [],
    }
    manifest["golden"] = _golden(data, manifest, text)
    cohort = format_instant(data.cut_offs[-1])
    rows = [
        {"cohort": cohort, "hour chosen by": who, "n": m.n, "share_opened": m.value, "se": m.se}
        for who, m in metrics.items()
    ]
    return Judged(
        manifest=manifest,
        text=text,
        judged_text="",
        metrics=metrics,
        table=rows,
        why_not=tuple(_verdicts(ways["model"], ways["global_hour"], observed_expected, spec)),
        notes=(f"observed/expected openings {observed_expected:.3f}",),
    )


def prior(data: HoursData | None, spec: HoursSpec, as_of: datetime, trained_at: datetime, why: Sequence[str]) -> Judged:
    """No hour is preferred; p is the specification's, weighted with the letters there are."""
    n = len(data.letters) if data else 0
    n_opened = int(data.letters.opened.sum()) if data else 0
    manifest = _manifest(data, spec, as_of, trained_at) | {
        "kind": "prior",
        "p": spec.prior.updated(n, n_opened),
        "sha256": manifests.sha256(""),
        "metrics": {},
        "golden": [],
    }
    return Judged(manifest=manifest, text="", judged_text="", metrics={}, table=[], too_thin=tuple(why))


def _verdicts(model: PolicyValue, everybody: PolicyValue, observed_expected: float, spec: HoursSpec) -> list[str]:
    found = []
    loss = everybody.value - model.value
    se = float(np.sqrt(((model.influence - everybody.influence) ** 2).sum()))
    if not np.isfinite(loss):
        found.append("no held-out letter went at an hour the model or everybody's hour names: nothing can be judged")
    elif loss > spec.gates.loss_to_global_hour_at_most * se:
        found.append(
            f"share opened {model.value:.4f} at the model's hours is {loss:.4f} (standard error {se:.4f}) below "
            f"{everybody.value:.4f} at the one best hour"
        )
    low, high = spec.gates.observed_expected
    if not low <= observed_expected <= high:
        found.append(f"observed/expected {observed_expected:.3f} is outside {low} to {high}")
    return found


def _golden(data: HoursData, manifest: dict[str, Any], text: str) -> list[dict[str, Any]]:
    files = ModelFiles(name=manifest["name"], version="", manifest=manifest, text=text)
    p = HoursModel(files).predict(data.by_utc)
    return manifests.golden_rows(data.by_utc, p)


def _manifest(data: HoursData | None, spec: HoursSpec, as_of: datetime, trained_at: datetime) -> dict[str, Any]:
    parts = (data.by_utc, data.letters.hour, data.letters.opened) if data else ()
    return {
        "name": spec.name,
        "version": None,  # given by the registry
        "format": manifests.FORMAT,
        "features": list(spec.features),
        "nulls": manifests.null_rules(spec.features),
        "definition_hash": catalog.definition_hash(),
        "target": spec.target.words,
        "goal": None,
        "horizon_days": spec.target.answer_within_days,
        "data": {
            "n_rows": len(data.letters) if data else 0,
            "n_positive": int(data.letters.opened.sum()) if data else 0,
            "n_random": int(np.isfinite(data.letters.p_hour).sum()) if data else 0,
            "n_customers": data.n_customers if data else 0,
            "cut_offs": [format_instant(at) for at in data.cut_offs] if data else [],
            "first_event_at": format_instant(data.first_event_at) if data else None,
            "fingerprint": manifests.sha256(b"".join(np.ascontiguousarray(p).tobytes() for p in parts))
            if data
            else None,
        },
        "trained_at": format_instant(trained_at),
        "as_of": format_instant(as_of),
    }
