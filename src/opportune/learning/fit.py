"""Fitting: LightGBM trees calibrated on the newest matured cohort, and the logistic baseline beside them.

Evaluation and serving use the same recipe (`fit`), once with what was known at the held-out cut-off, once with all.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from opportune.learning.calibration import Calibration, Floats, calibrate, log_odds
from opportune.learning.spec import ModelSpec
from opportune.learning.trees import Trees

#: Folds, by customer, for the out-of-sample log-odds that calibration needs.
FOLDS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Training rows as arrays of equal length: features (n, k), labels 0/1, cohort number (higher is newer), fold."""

    matrix: Floats
    reached: Floats
    cohort: npt.NDArray[np.int64]
    fold: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.reached)

    @property
    def n_positive(self) -> int:
        """Rows that reached the target."""
        return int(self.reached.sum())

    def where(self, mask: npt.NDArray[np.bool_]) -> "Rows":
        """The rows under a mask."""
        return Rows(
            matrix=self.matrix[mask], reached=self.reached[mask], cohort=self.cohort[mask], fold=self.fold[mask]
        )

    @property
    def newest(self) -> npt.NDArray[np.bool_]:
        """Mask of the newest cohort."""
        return np.asarray(self.cohort == self.cohort.max())


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """A fitted model: LightGBM text and its calibration."""

    text: str
    calibration: Calibration

    def predict(self, matrix: Floats) -> Floats:
        """Calibrated probabilities of an (n, k) matrix."""
        return self.calibration.apply(Trees(self.text).raw(matrix))


def grow(rows: Rows, spec: ModelSpec) -> str:
    """Trees on all rows, as LightGBM text. Deterministic: same rows and spec, same bytes."""
    import lightgbm

    parameters: dict[str, Any] = {
        "objective": "binary",
        "verbosity": -1,
        "deterministic": True,
        "force_row_wise": True,
        "seed": spec.seed,
        "num_threads": 1,  # waiting threads spin: on a busy machine more of them is slower
        **spec.parameters,
    }
    data = lightgbm.Dataset(
        rows.matrix,
        label=rows.reached,
        feature_name=list(spec.features),
        params={"verbosity": -1},
        free_raw_data=False,
    )
    return str(lightgbm.train(parameters, data, num_boost_round=spec.rounds).model_to_string())


def fit(rows: Rows, spec: ModelSpec) -> Fitted:
    """Trees on all rows; calibration on the newest cohort by log-odds from trees that never saw those customers.

    Raises ValueError when there is no row of each class.
    """
    if not 0 < rows.n_positive < len(rows):
        raise ValueError("training needs customers who reached the target and customers who did not")
    raw, reached = [], []
    for fold in range(FOLDS):
        inside, newest = rows.fold == fold, rows.newest
        seen, judged = rows.where(~inside), rows.where(inside & newest)
        if len(judged) == 0 or not 0 < seen.n_positive < len(seen):
            continue
        raw.append(Trees(grow(seen, spec)).raw(judged.matrix))
        reached.append(judged.reached)
    calibration = calibrate(np.concatenate(raw), np.concatenate(reached), spec.calibration) if raw else Calibration()
    return Fitted(text=grow(rows, spec), calibration=calibration)


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedBaseline:
    """Logistic regression on log(1 + recency, frequency, monetary), calibrated like the model."""

    pipeline: Any
    fill: Floats
    calibration: Calibration

    def predict(self, rfm: Floats) -> Floats:
        """Probabilities of an (n, 3) matrix in the order of `Baseline.names`."""
        return self.calibration.apply(_logistic_raw(self.pipeline, rfm, self.fill))


def _logged(rfm: Floats, fill: Floats) -> Floats:
    filled = np.where(np.isnan(rfm), fill, rfm)
    return np.asarray(np.log1p(np.maximum(filled, 0.0)), dtype=np.float64)


def _logistic_raw(pipeline: Any, rfm: Floats, fill: Floats) -> Floats:
    return log_odds(np.asarray(pipeline.predict_proba(_logged(rfm, fill))[:, 1], dtype=np.float64))


def fit_baseline(rows: Rows, rfm: Floats, spec: ModelSpec) -> FittedBaseline:
    """The baseline on the same rows; a missing recency counts as the longest seen, missing sums as 0.

    Raises ValueError when there is only one class.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    longest = float(np.nanmax(rfm[:, 0])) if np.isfinite(rfm[:, 0]).any() else 0.0
    fill = np.array([longest, 0.0, 0.0])
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    pipeline.fit(_logged(rfm, fill), rows.reached)
    newest = rows.newest
    raw = _logistic_raw(pipeline, rfm[newest], fill)
    return FittedBaseline(
        pipeline=pipeline, fill=fill, calibration=calibrate(raw, rows.reached[newest], spec.calibration)
    )


def folds_of(customer_ids: Sequence[str]) -> npt.NDArray[np.int64]:
    """A stable fold per customer, by CRC-32 of the id: all rows of one customer fall into one fold."""
    import zlib

    return np.array([zlib.crc32(customer_id.encode()) % FOLDS for customer_id in customer_ids], dtype=np.int64)
