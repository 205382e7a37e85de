"""Loaded models: what they refuse, what they answer, how they explain."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from opportune.features import catalog
from opportune.learning import manifest as manifests
from opportune.learning.calibration import sigmoid
from opportune.learning.fit import Fitted, Rows, fit
from opportune.learning.model import LoadedModel
from opportune.learning.spec import read
from opportune.learning.trees import Trees
from opportune.ports import ModelFiles

SPEC = read("purchase")
RECENCY = SPEC.features.index("last_order_age_days")


def some_rows(n: int = 1200) -> Rows:
    rng = np.random.default_rng(11)
    matrix = rng.gamma(1.0, 20.0, (n, len(SPEC.features)))
    matrix[rng.uniform(size=n) < 0.1, RECENCY] = np.nan
    z = 0.5 - np.nan_to_num(matrix[:, RECENCY], nan=60) / 15
    return Rows(
        matrix=matrix,
        reached=(rng.uniform(size=n) < sigmoid(z)).astype(float),
        cohort=np.arange(n) % 3,
        fold=np.arange(n) % 4,
    )


@pytest.fixture(scope="module")
def rows() -> Rows:
    return some_rows()


@pytest.fixture(scope="module")
def fitted(rows: Rows) -> Fitted:
    return fit(rows, SPEC.model_copy(update={"rounds": 30}))


@pytest.fixture
def manifest(rows: Rows, fitted: Fitted) -> dict[str, Any]:
    return {
        "name": "purchase",
        "version": "5",
        "format": manifests.FORMAT,
        "kind": "lightgbm",
        "sha256": manifests.sha256(fitted.text),
        "features": list(SPEC.features),
        "definition_hash": catalog.definition_hash(),
        "target": "order within 30 d",
        "horizon_days": 30,
        "calibration": manifests.as_block(fitted.calibration),
        "golden": manifests.golden_rows(rows.matrix, fitted.predict(rows.matrix)),
    }


def load(manifest: Mapping[str, Any], text: str) -> LoadedModel:
    return LoadedModel(ModelFiles(name="purchase", version="5", manifest=manifest, text=text))


def test_it_predicts_what_was_fitted_through_json_and_text(
    manifest: dict[str, Any], fitted: Fitted, rows: Rows
) -> None:
    """Trees and the two numbers of calibration survive text and JSON exactly; one row or many, the same p."""
    model = load(manifests.parse(manifests.dump(manifest)), fitted.text)
    p = model.predict(rows.matrix)
    assert p == pytest.approx(fitted.predict(rows.matrix), abs=0)
    assert [float(model.predict(rows.matrix[i : i + 1])[0]) for i in range(5)] == p[:5].tolist()
    assert ((p > 0) & (p < 1)).all()
    assert model.label == "purchase/5"
    assert model.predict(rows.matrix[:0]).shape == (0,)


def test_fitting_twice_gives_the_same_bytes(rows: Rows, fitted: Fitted) -> None:
    """Training is deterministic."""
    assert fit(rows, SPEC.model_copy(update={"rounds": 30})) == fitted


def test_reasons_point_at_what_moves_the_score(manifest: dict[str, Any], fitted: Fitted, rows: Rows) -> None:
    """A recent order raises, an old one lowers; effects are in probability and the words say so."""
    model = load(manifest, fitted.text)
    matrix = np.repeat(rows.matrix[:1], 3, axis=0)
    matrix[:, RECENCY] = [1.0, 200.0, np.nan]
    recent, old, never = model.explain(matrix)
    p = model.predict(matrix)
    assert recent[0].feature == old[0].feature == "last_order_age_days"
    assert 0 < recent[0].effect < p[0]
    assert old[0].effect < 0
    assert "raises the probability by" in recent[0].text
    assert any(r.value is None and "never ordered" in r.text for r in never)


def test_contributions_add_up_to_the_raw_score(fitted: Fitted, rows: Rows) -> None:
    """TreeSHAP's own promise: contributions and expectation sum to the raw log-odds."""
    trees = Trees(fitted.text)
    assert trees.contributions(rows.matrix[:50]).sum(axis=1) == pytest.approx(trees.raw(rows.matrix[:50]), abs=1e-9)


def test_a_prior_gives_everybody_the_same_p(manifest: dict[str, Any], rows: Rows) -> None:
    """A prior has no trees, no reasons, and one p."""
    prior = manifest | {"kind": "prior", "p": 0.12, "sha256": manifests.sha256(""), "golden": []}
    model = load(prior, "")
    assert model.predict(rows.matrix[:3]).tolist() == [0.12] * 3
    assert model.explain(rows.matrix[:2]) == [[], []]
    with pytest.raises(ValueError, match="not a probability"):
        load(prior | {"p": 1.5}, "")


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"definition_hash": "sha256:0"}, "other feature definitions"),
        ({"features": [*SPEC.features[:-1], "shoe_size"]}, "does not have: shoe_size"),
        ({"features": list(reversed(SPEC.features))}, "other features than its manifest"),
        ({"sha256": "sha256:0"}, "hash"),
        ({"format": "opportune-model/9"}, "format"),
        ({"kind": "pickle"}, "unknown kind"),
        ({"name": "churn"}, "it is 'churn'"),
        ({"calibration": {"a": 0.0, "b": -1.0}}, "not usable"),
        ({"calibration": {"a": 0.1, "b": 1.0}}, "golden rows"),
    ],
)
def test_a_manifest_that_does_not_hold_is_refused(
    manifest: dict[str, Any], fitted: Fitted, change: dict[str, Any], word: str
) -> None:
    """Another definition, order, hash, format or calibration never scores anybody."""
    with pytest.raises(ValueError, match=word):
        load(manifest | change, fitted.text)


def test_a_matrix_of_another_width_is_refused(manifest: dict[str, Any], fitted: Fitted) -> None:
    """LightGBM would read past the end, so we ask first."""
    with pytest.raises(ValueError, match="shape"):
        load(manifest, fitted.text).predict(np.zeros((2, 3)))
