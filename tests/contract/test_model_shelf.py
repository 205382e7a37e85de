"""The contract of ports.ModelShelf and ModelStock, on disk: whole champions or none, and no crash for the caller."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from opportune.adapters.disk_shelf import DiskShelf
from opportune.features import catalog
from opportune.learning import manifest as manifests
from opportune.learning.fit import Rows, fit
from opportune.learning.model import LoadedModel
from opportune.learning.spec import read

SPEC = read("purchase")


def model_files(version: str, seed: int) -> dict[str, bytes]:
    rng = np.random.default_rng(seed)
    matrix = rng.gamma(1.0, 20.0, (600, len(SPEC.features)))
    reached = (rng.uniform(size=600) < np.where(matrix[:, 0] > 20, 0.6, 0.2)).astype(float)
    rows = Rows(matrix=matrix, reached=reached, cohort=np.zeros(600, np.int64), fold=np.arange(600) % 4)
    fitted = fit(rows, SPEC.model_copy(update={"rounds": 10}))
    manifest: dict[str, Any] = {
        "name": "purchase",
        "version": version,
        "format": manifests.FORMAT,
        "kind": "lightgbm",
        "sha256": manifests.sha256(fitted.text),
        "features": list(SPEC.features),
        "definition_hash": catalog.definition_hash(),
        "target": "order within 30 d",
        "horizon_days": 30,
        "calibration": manifests.as_block(fitted.calibration),
        "golden": manifests.golden_rows(matrix, fitted.predict(matrix)),
    }
    return {"manifest.json": manifests.dump(manifest), "model.txt": fitted.text.encode(), "CARD.md": b"# card\n"}


def changed(files: dict[str, bytes], text: bytes | None = None, **manifest: Any) -> dict[str, bytes]:
    """The files with another model text (its hash stated truly) or other manifest fields."""
    whole = json.loads(files["manifest.json"])
    if text is not None:
        whole["sha256"] = manifests.sha256(text)
    return {**files, "model.txt": text or files["model.txt"], "manifest.json": manifests.dump(whole | manifest)}


@pytest.fixture(scope="module")
def one() -> dict[str, bytes]:
    return model_files("1", 1)


@pytest.fixture(scope="module")
def two() -> dict[str, bytes]:
    return model_files("2", 2)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shelf")


@pytest.fixture
def shelf(tmp_path: Path) -> DiskShelf:
    return DiskShelf(tmp_path)


def test_an_empty_shelf_says_so(shelf: DiskShelf) -> None:
    """No stamp, no champion, and FileNotFoundError that says what to do."""
    assert shelf.stamp("purchase") is None
    assert shelf.champion("purchase") is None
    with pytest.raises(FileNotFoundError, match="train it"):
        shelf.load("purchase")


def test_what_is_put_is_loaded_and_the_stamp_follows(
    shelf: DiskShelf, one: dict[str, bytes], two: dict[str, bytes], tmp_path: Path
) -> None:
    """Put makes champion; another put changes the stamp; going back works; nothing temporary is left."""
    shelf.put("purchase", "1", one)
    first = shelf.stamp("purchase")
    files = shelf.load("purchase")
    assert (files.name, files.version, files.text) == ("purchase", "1", one["model.txt"].decode())
    assert LoadedModel(files).label == "purchase/1"
    assert shelf.stamp("purchase") == first
    shelf.put("purchase", "2", two)
    assert shelf.load("purchase").version == "2"
    assert shelf.stamp("purchase") != first
    shelf.put("purchase", "1", one)
    assert shelf.load("purchase").version == "1"
    assert sorted(p.name for p in (tmp_path / "models" / "purchase").iterdir()) == ["1", "2", "champion"]


def test_a_second_load_needs_no_child_process(
    shelf: DiskShelf, one: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Proven bytes are remembered by their hash: the serving process starts quickly."""
    shelf.put("purchase", "1", one)
    monkeypatch.setattr("opportune.adapters.disk_shelf.sys.executable", "/nonexistent")
    assert shelf.load("purchase").version == "1"


def test_bytes_changed_on_disk_are_refused(shelf: DiskShelf, one: dict[str, bytes], tmp_path: Path) -> None:
    """One changed byte breaks the hash; the stamp changes, so that somebody looks; a missing file is named."""
    shelf.put("purchase", "1", one)
    before = shelf.stamp("purchase")
    path = tmp_path / "models" / "purchase" / "1" / "model.txt"
    path.write_bytes(one["model.txt"].replace(b"0", b"1", 1))
    assert shelf.stamp("purchase") != before
    with pytest.raises(ValueError, match="hash"):
        shelf.load("purchase")
    path.unlink()
    assert shelf.stamp("purchase") != before
    with pytest.raises(ValueError, match=r"model\.txt is missing"):
        shelf.load("purchase")


@pytest.mark.parametrize(
    "mutilate",
    [
        pytest.param(lambda text: text[: len(text) // 2], id="cut"),
        pytest.param(lambda text: text.replace(b"left_child=", b"left_child=99999 "), id="wild-child"),
        pytest.param(lambda text: b"not a model", id="nonsense"),
    ],
)
def test_a_mutilated_model_never_hurts_the_caller(
    shelf: DiskShelf, one: dict[str, bytes], two: dict[str, bytes], mutilate: Any
) -> None:
    """LightGBM may abort on such a text: that happens in a child, the caller gets ValueError, the champion stays."""
    shelf.put("purchase", "1", one)
    with pytest.raises(ValueError, match="purchase/2"):
        shelf.put("purchase", "2", changed(two, text=mutilate(two["model.txt"])))
    assert shelf.champion("purchase") == "1"
    assert shelf.load("purchase").version == "1"


def test_manifests_that_do_not_hold_are_refused(shelf: DiskShelf, one: dict[str, bytes]) -> None:
    """Another hash, name or version, a lost file, a path as a name: ValueError, and nothing is champion."""
    broken = [
        changed(one, sha256="sha256:0"),
        changed(one, name="churn"),
        changed(one, version="7"),
        {"manifest.json": b"{", "model.txt": b""},
        {"model.txt": b""},
        {**one, "../escape": b""},
    ]
    for files in broken:
        with pytest.raises(ValueError):  # noqa: PT011 - six different sentences
            shelf.put("purchase", "1", files)
    for name, version in (("../up", "1"), ("purchase", "../1")):
        with pytest.raises(ValueError, match="is not a"):
            shelf.put(name, version, one)
    assert shelf.champion("purchase") is None


def test_a_model_of_other_feature_definitions_never_becomes_champion(shelf: DiskShelf, one: dict[str, bytes]) -> None:
    """The probe loads it as serving would, definition hash included."""
    with pytest.raises(ValueError, match="other feature definitions"):
        shelf.put("purchase", "1", changed(one, definition_hash="sha256:0"))


def test_a_prior_is_a_model_without_trees(shelf: DiskShelf, one: dict[str, bytes]) -> None:
    """Kind `prior` with an empty text is put, proven and loaded like any other."""
    files = {**changed(one, kind="prior", p=0.1, golden=[], sha256=manifests.sha256("")), "model.txt": b""}
    shelf.put("purchase", "1", files)
    assert LoadedModel(shelf.load("purchase")).kind == "prior"
