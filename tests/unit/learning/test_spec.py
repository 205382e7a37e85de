"""Specifications: what ships is sound, and a wrong one is refused with the place named."""

from pathlib import Path

import pytest

from opportune.features import catalog
from opportune.learning.card import written_part
from opportune.learning.spec import ModelSpec, Prior, known_models, models_root, read, read_any


@pytest.mark.parametrize("name", known_models())
def test_every_shipped_specification_names_catalogue_features(name: str) -> None:
    """Each model's features are single numbers of the catalogue, and it has a written card."""
    spec = read_any(name)
    if isinstance(spec, ModelSpec):
        assert [
            f for f in spec.columns if f not in catalog.BY_NAME or catalog.BY_NAME[f].dtype in ("vector", "text")
        ] == []
    else:
        assert [f for f in spec.features if catalog.BY_NAME[f].size != 24] == []
    assert written_part(name).startswith("# Model card")


def test_an_unknown_model_is_named_with_those_that_exist() -> None:
    """The error says which models there are."""
    with pytest.raises(FileNotFoundError, match="purchase"):
        read("horoscope")


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ("horizon_days: 30", "horizon_days: 0", "horizon_days"),
        ("seed: 7", "sede: 7", "sede"),
        ("- cart_value", "- cart_products", "cannot read texts"),
        ("rounds:", "- rounds:", "spec.yaml"),
    ],
)
def test_a_wrong_specification_is_refused_with_its_place(tmp_path: Path, old: str, new: str, word: str) -> None:
    """Out of range, unknown key, not YAML: ValueError that names file and key."""
    text = (models_root() / "purchase" / "spec.yaml").read_text(encoding="utf-8").replace(old, new, 1)
    (tmp_path / "purchase").mkdir()
    (tmp_path / "purchase" / "spec.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=word):
        read("purchase", tmp_path)


def test_evidence_moves_the_prior_by_its_weight() -> None:
    """p = prior * E0/(E0+n) + rate * n/(E0+n)."""
    prior = Prior(p=0.1, evidence=200)
    assert prior.updated(0, 0) == 0.1
    assert prior.updated(200, 60) == pytest.approx(0.1 * 0.5 + 0.3 * 0.5)
