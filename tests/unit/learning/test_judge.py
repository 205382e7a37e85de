"""Judging and calibrating: metrics against naive oracles, gates one by one."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opportune.learning.calibration import Calibration, calibrate, log_odds, sigmoid
from opportune.learning.judge import Metrics, area_under_curve, as_text, calibration_error, measure, table, verdicts
from opportune.learning.spec import read

GATES = read("purchase").gates
GOOD = Metrics(n=1000, n_positive=200, auc=0.74, log_loss=0.45, brier=0.15, ece10=0.03, observed_expected=1.0)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=1, max_size=30))
def test_auc_is_the_share_of_pairs_ranked_right(pairs: list[tuple[bool, int]]) -> None:
    """Ties count half; null when one class is missing."""
    reached = np.array([float(r) for r, _ in pairs])
    p = np.array([k / 5 for _, k in pairs])
    wins = [1.0 if a > b else 0.5 if a == b else 0.0 for a in p[reached == 1] for b in p[reached == 0]]
    found = area_under_curve(reached, p)
    assert found is None if not wins else found == pytest.approx(np.mean(wins))


def test_calibration_error_is_zero_when_right_and_the_gap_when_constant() -> None:
    """Ten bins of equal mass; rows with equal p share their outcome, so their order does not matter."""
    reached = np.tile([1.0, 0.0, 0.0, 0.0], 100)
    assert calibration_error(reached, np.full(400, 0.25)) == pytest.approx(0.0)
    assert calibration_error(reached, np.full(400, 0.75)) == pytest.approx(0.5)


def test_measure_agrees_with_scikit_learn() -> None:
    """AUC, log-loss and Brier score are the textbook ones."""
    from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

    rng = np.random.default_rng(3)
    p = rng.uniform(0.01, 0.99, 500)
    reached = (rng.uniform(size=500) < p).astype(float)
    m = measure(reached, p)
    assert m.auc == pytest.approx(roc_auc_score(reached, p))
    assert m.log_loss == pytest.approx(log_loss(reached, p))
    assert m.brier == pytest.approx(brier_score_loss(reached, p))
    assert m.observed_expected == pytest.approx(reached.sum() / p.sum())


def test_calibration_finds_the_shift_that_was_made() -> None:
    """A level shifted by 0.7 in log-odds is shifted back; the slope stays near 1."""
    rng = np.random.default_rng(5)
    true = rng.normal(-1.0, 1.0, 20_000)
    reached = (rng.uniform(size=20_000) < sigmoid(true)).astype(float)
    found = calibrate(true + 0.7, reached, "platt")
    assert found.b == pytest.approx(1.0, abs=0.06)
    assert found.a == pytest.approx(-0.7, abs=0.08)
    assert calibrate(true + 0.7, reached, "shift").b == 1.0


def test_a_tiny_cohort_hardly_bends_the_slope() -> None:
    """Ten rows move the level, and the prior keeps the slope near 1 and positive."""
    found = calibrate(np.linspace(-1, 1, 10), np.array([1.0] * 5 + [0.0] * 5), "platt")
    assert 0.5 < found.b < 1.0


@pytest.mark.parametrize("method", ["platt", "shift"])
def test_calibration_of_one_class_is_finite(method: str) -> None:
    """Nobody, or everybody, reached the goal: still a usable calibration; no rows: the identity."""
    for label in (0.0, 1.0):
        found = calibrate(np.linspace(-2, 2, 50), np.full(50, label), method)
        assert np.isfinite([found.a, found.b]).all()
        assert found.b > 0
    assert calibrate(np.empty(0), np.empty(0), method) == Calibration(0.0, 1.0)


def test_log_odds_and_sigmoid_are_inverse() -> None:
    """p -> log-odds -> p, at the edges too without overflow."""
    p = np.array([1e-6, 0.2, 0.5, 1 - 1e-6])
    assert sigmoid(log_odds(p)) == pytest.approx(p)
    assert sigmoid(np.array([-1e4, 1e4])).tolist() == [0.0, 1.0]


def test_a_good_model_passes_every_gate() -> None:
    """As good as baseline and champion: nothing to say against it."""
    assert verdicts(GOOD, GOOD, GOOD, GATES) == []


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"auc": 0.55}, "below 0.6"),
        ({"auc": 0.70}, "below the baseline"),
        ({"auc": 0.95}, "leakage"),
        ({"log_loss": 0.48}, "the baseline's"),
        ({"log_loss": 0.455}, "purchase/4's"),
        ({"ece10": 0.3}, "calibration error"),
        ({"observed_expected": 3.0}, "observed/expected"),
        ({"observed_expected": None}, "observed/expected"),
        ({"auc": None}, "one class only"),
    ],
)
def test_each_gate_refuses_with_its_own_sentence(change: dict[str, float], word: str) -> None:
    """One thing wrong gives a sentence that names it."""
    found = verdicts(replace(GOOD, **change), GOOD, GOOD, GATES, "purchase/4")  # type: ignore[arg-type]
    assert any(word in sentence for sentence in found)


def test_the_table_reads_as_aligned_text() -> None:
    """One row per judged model, a missing figure as a dash."""
    text = as_text(table("2026-01-01", {"model": GOOD, "champion": None, "base_rate": replace(GOOD, auc=None)}))
    assert "0.7400" in text
    assert " - " in text
    assert len(text.splitlines()) == 3
