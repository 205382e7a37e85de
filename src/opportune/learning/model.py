"""A champion in use: LightGBM text plus manifest -> probabilities and reasons. No code from the artifact ever runs."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from opportune.domain.decisions import ScoreReason, Value
from opportune.features import catalog, vector
from opportune.learning import manifest as manifests
from opportune.learning.calibration import Calibration, Floats, sigmoid
from opportune.learning.trees import Trees
from opportune.ports import ModelFiles

#: Reasons given per score, strongest first.
N_REASONS = 5
#: Contributions smaller than this, in probability, are not worth a sentence.
_LEAST_EFFECT = 0.0005


class LoadedModel:
    """One loaded model. `kind` is `lightgbm`, or `prior`: one p for everybody because the data was too thin.

    Raises ValueError when hash, manifest, feature names, definition hash or golden rows do not hold.
    """

    def __init__(self, files: ModelFiles) -> None:
        m: Mapping[str, Any] = files.manifest
        manifests.check(m, files.name, files.text)
        manifests.check_definitions(m)
        self.manifest = m
        self.name = files.name
        self.version = files.version
        self.kind = str(m["kind"])
        self.names: tuple[str, ...] = tuple(m["features"])
        self.target = str(m["target"])
        self._columns = vector.columns(self.names)
        self._calibration = manifests.calibration_of(m["calibration"]) if self.kind == "lightgbm" else Calibration()
        self._trees = Trees(files.text) if self.kind == "lightgbm" else None
        self._p = float(m.get("p", 0.0))
        if self._trees is not None and list(self._trees.names) != self._columns:
            raise ValueError(f"the trees of {self.label} read other features than its manifest says")
        if self._trees is None and not 0 <= self._p <= 1:
            raise ValueError(f"the prior of {self.label} is {self._p}, not a probability")
        self._check_golden()

    @property
    def label(self) -> str:
        """`name/version`, as scores carry it."""
        return f"{self.name}/{self.version}"

    @property
    def as_of(self) -> str:
        """Knowledge time of the training data, ISO 8601 UTC: scores of earlier instants are in sample."""
        return str(self.manifest.get("as_of", ""))

    def predict(self, matrix: Floats) -> Floats:
        """Calibrated probabilities (n,) of an (n, k) float64 matrix in the order of `names`; NaN is null.

        Raises ValueError when the shape is not (n, k).
        """
        if self._trees is None:
            return np.full(len(matrix), self._p)
        return self._calibration.apply(self._trees.raw(matrix))

    def explain(self, matrix: Floats) -> list[list[ScoreReason]]:
        """The strongest reasons of each row, at most N_REASONS; empty lists for a prior.

        Effect of a feature: p minus what p would be without its TreeSHAP contribution (Lundberg et al. 2020), so
        the signs and sizes are in probability; effects do not add up exactly, because the scale is curved.
        """
        if self._trees is None:
            return [[] for _ in range(len(matrix))]
        contributions = self._trees.contributions(matrix) * self._calibration.b
        z = contributions.sum(axis=1) + self._calibration.a
        p = sigmoid(z)
        effects = p[:, None] - sigmoid(z[:, None] - contributions[:, :-1])
        return [self._reasons(matrix[i], effects[i]) for i in range(len(matrix))]

    def _reasons(self, row: Floats, effects: Floats) -> list[ScoreReason]:
        strongest = np.argsort(-np.abs(effects), kind="stable")[:N_REASONS]
        return [
            reason(self._columns[i], float(row[i]), float(effects[i]))
            for i in strongest
            if abs(effects[i]) >= _LEAST_EFFECT
        ]

    def _check_golden(self) -> None:
        matrix, expected = manifests.golden_matrix(self.manifest)
        if len(expected) == 0:
            return
        found = self.predict(matrix)
        if not np.allclose(found, expected, rtol=0, atol=manifests.GOLDEN_TOLERANCE):
            worst = float(np.abs(found - expected).max())
            raise ValueError(f"{self.label} misses its golden rows by up to {worst:.2g}: not the model it claims to be")


def reason(column: str, number: float, effect: float) -> ScoreReason:
    """One contribution in plain words, from the catalogue's description and unit. NaN is null."""
    feature = catalog.BY_NAME.get(column)
    value: Value = None if np.isnan(number) else number
    if value is not None and feature is not None and feature.dtype in ("int", "bool"):
        value = int(number)
    what = feature.description.rstrip(".") if feature is not None else column
    if value is None:
        said = feature.null_meaning if feature is not None else "unknown"
    else:
        said = f"{number:.0f}" if float(number).is_integer() or abs(number) >= 10 else f"{number:.1f}"
    direction = "raises" if effect > 0 else "lowers"
    text = f"{what}: {said}; {direction} the probability by {abs(effect) * 100:.1f} points"
    return ScoreReason(feature=column, value=value, effect=effect, text=text)
