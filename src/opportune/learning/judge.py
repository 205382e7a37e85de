"""Judging: metrics of any model on the same held-out rows, and the gates a new one must pass."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from opportune.learning.calibration import Floats
from opportune.learning.spec import Gates


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """How good probabilities were on n rows.

    `auc` null when only one class is present; `observed_expected` null when nothing was expected.
    `ece10`: expected calibration error over ten bins of equal mass, in probability.
    """

    n: int
    n_positive: int
    auc: float | None
    log_loss: float
    brier: float
    ece10: float
    observed_expected: float | None

    def flat(self, prefix: str = "") -> dict[str, float]:
        """Name -> number, nulls left out, as run logs want them."""
        return {f"{prefix}{k}": float(v) for k, v in asdict(self).items() if v is not None}


def measure(reached: Floats, p: Floats) -> Metrics:
    """Metrics of probabilities p against 0/1 labels. Raises ValueError when there are no rows or lengths differ."""
    if len(reached) == 0 or len(reached) != len(p):
        raise ValueError(f"cannot judge {len(p)} probabilities against {len(reached)} labels")
    safe = np.clip(p, 1e-9, 1 - 1e-9)
    expected = float(p.sum())
    return Metrics(
        n=len(reached),
        n_positive=int(reached.sum()),
        auc=area_under_curve(reached, p),
        log_loss=float(-(reached * np.log(safe) + (1 - reached) * np.log1p(-safe)).mean()),
        brier=float(((p - reached) ** 2).mean()),
        ece10=calibration_error(reached, p),
        observed_expected=float(reached.sum()) / expected if expected > 0 else None,
    )


def area_under_curve(reached: Floats, p: Floats) -> float | None:
    """Probability that a random positive is ranked above a random negative, ties counting half (Mann-Whitney)."""
    n_positive = int(reached.sum())
    n_negative = len(reached) - n_positive
    if n_positive == 0 or n_negative == 0:
        return None
    _, inverse, counts = np.unique(p, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2
    rank_sum = float(ranks[inverse][reached > 0].sum())
    return (rank_sum - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative)


def calibration_error(reached: Floats, p: Floats, bins: int = 10) -> float:
    """Mean |observed rate - mean p| over bins of equal mass, ordered by p; equal p share their mean outcome.

    Sharing makes the value independent of the order of rows with the same probability.
    """
    _, inverse, counts = np.unique(p, return_inverse=True, return_counts=True)
    shared = (np.bincount(inverse, weights=reached) / counts)[inverse]
    order = np.argsort(p, kind="stable")
    error = 0.0
    for part in np.array_split(order, min(bins, len(p))):
        error += abs(float(shared[part].mean() - p[part].mean())) * len(part) / len(p)
    return error


def verdicts(
    model: Metrics, baseline: Metrics, champion: Metrics | None, gates: Gates, champion_label: str = "the champion"
) -> list[str]:
    """Why the model must not be promoted, one sentence per gate that failed; empty: it passes."""
    if model.auc is None or baseline.auc is None:
        return ["the held-out cohort holds one class only: nothing can be judged"]
    found: list[str] = []
    if model.auc < gates.auc_at_least:
        found.append(f"AUC {model.auc:.3f} is below {gates.auc_at_least:.3f}")
    if model.auc < baseline.auc - gates.auc_below_baseline_at_most:
        found.append(
            f"AUC {model.auc:.3f} is more than {gates.auc_below_baseline_at_most:.3f} below the baseline's "
            f"{baseline.auc:.3f}"
        )
    if model.auc > baseline.auc + gates.auc_above_baseline_at_most:
        found.append(
            f"AUC {model.auc:.3f} is more than {gates.auc_above_baseline_at_most:.3f} above the baseline's "
            f"{baseline.auc:.3f}: audit the features for leakage, then raise the gate"
        )
    if model.log_loss > baseline.log_loss * gates.log_loss_over_baseline_at_most:
        found.append(
            f"log-loss {model.log_loss:.4f} is over {gates.log_loss_over_baseline_at_most} times the baseline's "
            f"{baseline.log_loss:.4f}"
        )
    if champion is not None and model.log_loss > champion.log_loss * gates.log_loss_over_champion_at_most:
        found.append(
            f"log-loss {model.log_loss:.4f} is over {gates.log_loss_over_champion_at_most} times {champion_label}'s "
            f"{champion.log_loss:.4f} on the same rows"
        )
    if model.ece10 > gates.ece10_at_most:
        found.append(f"calibration error {model.ece10:.3f} is above {gates.ece10_at_most:.3f}")
    low, high = gates.observed_expected
    if model.observed_expected is None or not low <= model.observed_expected <= high:
        found.append(f"observed/expected {model.observed_expected} is outside {low} to {high}")
    return found


def table(cohort: str, judged: Mapping[str, Metrics | None]) -> list[dict[str, object]]:
    """One row per judged model, for reports: cohort, model and the metrics."""
    return [{"cohort": cohort, "model": who, **asdict(m)} for who, m in judged.items() if m is not None]


def as_text(rows: Sequence[Mapping[str, object]]) -> str:
    """The table as aligned text, four decimals."""
    if not rows:
        return "(nothing judged)"
    heads = list(rows[0])
    cells = [[_cell(row[head]) for head in heads] for row in rows]
    widths = [max(len(head), *(len(line[i]) for line in cells)) for i, head in enumerate(heads)]
    lines = [heads, *cells]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines)


def _cell(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else "-" if value is None else str(value)
