"""Calibration: two numbers on the raw log-odds, p = sigmoid(a + b * raw). Refitted on the newest matured cohort.

Platt's method (Platt 1999) with his smoothed targets and a prior that keeps the slope near 1, so that a small
cohort only shifts the level. Never isotonic: it was worst below 10,000 positives.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

#: Standard deviation of the slope around 1 under the prior.
SLOPE_SD = 0.25
_STEPS = 50


def sigmoid(z: Floats) -> Floats:
    """1 / (1 + exp(-z)) without overflow, in (0, 1)."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * z)), dtype=np.float64)


def log_odds(p: Floats) -> Floats:
    """ln(p / (1 - p)), p kept within [1e-9, 1 - 1e-9]."""
    p = np.clip(p, 1e-9, 1 - 1e-9)
    return np.asarray(np.log(p) - np.log1p(-p), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Calibration:
    """p = sigmoid(a + b * raw). `b` > 0, so ranks are kept."""

    a: float = 0.0
    b: float = 1.0

    def apply(self, raw: Floats) -> Floats:
        """Probabilities of raw log-odds."""
        return sigmoid(self.a + self.b * raw)


def calibrate(raw: Floats, reached: Floats, method: str) -> Calibration:
    """The calibration of out-of-sample raw log-odds against 0/1 labels; `shift` keeps b = 1.

    Newton's method on the penalised log-loss, which is convex. No rows: the identity.
    """
    n, n_positive = len(reached), float(reached.sum())
    if n == 0:
        return Calibration()
    targets = np.where(reached > 0, (n_positive + 1) / (n_positive + 2), 1 / (n - n_positive + 2))
    a, b = 0.0, 1.0
    for _ in range(_STEPS):
        p = sigmoid(a + b * raw)
        weight = np.maximum(p * (1 - p), 1e-12)
        gradient_a = float((p - targets).sum())
        hessian_aa = float(weight.sum())
        if method == "shift":
            step_a, step_b = gradient_a / hessian_aa, 0.0
        else:
            gradient_b = float(((p - targets) * raw).sum()) + (b - 1) / SLOPE_SD**2
            hessian_ab = float((weight * raw).sum())
            hessian_bb = float((weight * raw * raw).sum()) + 1 / SLOPE_SD**2
            det = max(hessian_aa * hessian_bb - hessian_ab**2, 1e-12)
            step_a = (hessian_bb * gradient_a - hessian_ab * gradient_b) / det
            step_b = (hessian_aa * gradient_b - hessian_ab * gradient_a) / det
        a, b = a - float(np.clip(step_a, -2, 2)), max(b - float(np.clip(step_b, -0.5, 0.5)), 0.05)
        if abs(step_a) + abs(step_b) < 1e-10:
            break
    return Calibration(a, b)
