"""The manifest beside every model: what it is, what it reads, how it was judged, and rows that prove it loads right."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from opportune.features import catalog, vector
from opportune.learning.calibration import Calibration, Floats

FORMAT = "opportune-model/1"
MANIFEST, MODEL, JUDGED, CARD, TABLE = "manifest.json", "model.txt", "judged.txt", "CARD.md", "judged.json"
#: A golden row must come out within this of its expected p.
GOLDEN_TOLERANCE = 1e-9
_NEEDED = ("name", "version", "format", "kind", "sha256", "features", "definition_hash", "target", "horizon_days")


def sha256(data: bytes | str) -> str:
    """`sha256:<hex>` of bytes, or of text in UTF-8."""
    return "sha256:" + hashlib.sha256(data.encode() if isinstance(data, str) else data).hexdigest()


def null_rules(names: Sequence[str]) -> dict[str, str]:
    """How each feature's null reaches the trees: always NaN; the catalogue's words say what it means."""
    return {name: f"NaN: {catalog.BY_NAME[name].null_meaning}" for name in names}


def golden_rows(matrix: Floats, p: Floats, n: int = 8) -> list[dict[str, Any]]:
    """Up to n rows from the least to the most likely, with the p they must give. NaN is written as null."""
    if len(p) == 0:
        return []
    order = np.argsort(p, kind="stable")
    picked = sorted({int(i) for i in np.linspace(0, len(p) - 1, min(n, len(p)))})
    return [{"row": _row(matrix[order[i]]), "p": float(p[order[i]])} for i in picked]


def golden_matrix(manifest: Mapping[str, Any]) -> tuple[Floats, Floats]:
    """The golden rows as (n, k) matrix and expected p (n,)."""
    rows = manifest.get("golden", [])
    matrix = [[np.nan if v is None else float(v) for v in row["row"]] for row in rows]
    width = len(vector.columns(manifest["features"]))
    return np.array(matrix, dtype=np.float64).reshape(len(rows), width), np.array([row["p"] for row in rows])


def _row(values: Floats) -> list[float | None]:
    return [None if np.isnan(v) else float(v) for v in values]


def calibration_of(block: Mapping[str, Any]) -> Calibration:
    """The two numbers of a `calibration` block. Raises ValueError when they are no use."""
    a, b = float(block["a"]), float(block["b"])
    if not (np.isfinite(a) and np.isfinite(b) and b > 0):
        raise ValueError(f"calibration a={a}, b={b} is not usable")
    return Calibration(a, b)


def as_block(calibration: Calibration) -> dict[str, float]:
    """A calibration as the manifest keeps it."""
    return asdict(calibration)


def check(manifest: Mapping[str, Any], name: str, text: str) -> None:
    """Sanity before anything is loaded: format, name, hash of the model text. Raises ValueError with what is wrong."""
    missing = [field for field in _NEEDED if field not in manifest]
    if missing:
        raise ValueError(f"the manifest of {name} lacks {', '.join(missing)}")
    if manifest["format"] != FORMAT:
        raise ValueError(f"the manifest of {name} has format {manifest['format']!r}, this version reads {FORMAT!r}")
    if manifest["name"] != name:
        raise ValueError(f"the manifest says it is {manifest['name']!r}, not {name!r}")
    if manifest["kind"] not in ("lightgbm", "hours", "prior"):
        raise ValueError(f"the manifest of {name} has the unknown kind {manifest['kind']!r}")
    if manifest["sha256"] != sha256(text):
        raise ValueError(f"model.txt of {name}/{manifest['version']} does not have the hash its manifest states")


def check_definitions(manifest: Mapping[str, Any]) -> None:
    """Raises ValueError when the features of this code are not those the model was trained on."""
    label = f"{manifest['name']}/{manifest['version']}"
    unknown = [name for name in manifest["features"] if name not in catalog.BY_NAME]
    if unknown:
        raise ValueError(f"{label} reads features this code does not have: {', '.join(unknown)}; train it again")
    if manifest["definition_hash"] != catalog.definition_hash():
        raise ValueError(f"{label} was trained on other feature definitions than this code's; train it again")


def dump(manifest: Mapping[str, Any]) -> bytes:
    """The manifest as JSON bytes; the same manifest gives the same bytes. NaN is refused."""
    return (json.dumps(manifest, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()


def parse(data: bytes) -> dict[str, Any]:
    """The manifest from JSON bytes. Raises ValueError when it is not a JSON object."""
    try:
        found = json.loads(data)
    except (json.JSONDecodeError, UnicodeDecodeError) as problem:
        raise ValueError(f"the manifest is not JSON: {problem}") from problem
    if not isinstance(found, dict):
        raise ValueError("the manifest is not a JSON object")
    return found
