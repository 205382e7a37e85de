"""LightGBM text, loaded: raw log-odds and contributions of 2-d float64 rows, one thread, no DataFrame."""

from typing import Any

import numpy as np

from opportune.learning.calibration import Floats


class Trees:
    """A booster read from LightGBM's own text. Raises ValueError when LightGBM refuses it.

    A mutilated text can crash the process: only load what a child process has loaded before (adapters/disk_shelf).
    """

    def __init__(self, text: str) -> None:
        import lightgbm

        try:
            self._booster: Any = lightgbm.Booster(model_str=text)
        except lightgbm.basic.LightGBMError as problem:
            raise ValueError(f"LightGBM cannot read the model: {problem}") from problem
        self.names: tuple[str, ...] = tuple(self._booster.feature_name())

    def raw(self, matrix: Floats) -> Floats:
        """Raw log-odds (n,) of an (n, k) matrix; NaN is null. Raises ValueError when k differs from the trees'."""
        self._check(matrix)
        if len(matrix) == 0:
            return np.empty(0)
        return np.asarray(self._booster.predict(matrix, raw_score=True, num_threads=1), dtype=np.float64)

    def contributions(self, matrix: Floats) -> Floats:
        """TreeSHAP in log-odds, (n, k + 1): one column a feature, the last one the expected log-odds."""
        self._check(matrix)
        return np.asarray(self._booster.predict(matrix, pred_contrib=True, num_threads=1), dtype=np.float64)

    def gains(self) -> dict[str, float]:
        """Share of the total split gain per feature, largest first; all 0 when there is no split."""
        gains = np.asarray(self._booster.feature_importance(importance_type="gain"), dtype=np.float64)
        total = float(gains.sum()) or 1.0
        order = np.argsort(-gains, kind="stable")
        return {self.names[i]: float(gains[i]) / total for i in order}

    def _check(self, matrix: Floats) -> None:
        if matrix.ndim != 2 or matrix.shape[1] != len(self.names):
            raise ValueError(f"the trees read {len(self.names)} features, the matrix has shape {matrix.shape}")
