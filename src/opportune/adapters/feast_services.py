"""Feature services: which model version reads which features, noted in the home for every `feast apply` to see."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from opportune.adapters.feast_repo import Place, exclusive

_FILE = "services.json"


def service_name(label: str) -> str:
    """`purchase/5` -> `purchase_v5`."""
    name, _, version = label.partition("/")
    return f"{name}_v{version}"


def note_service(place: Place, label: str, manifest: Mapping[str, Any]) -> str:
    """Write down what a model version reads; returns the name of its service. The same note again changes nothing."""
    name = service_name(label)
    note = {
        "model": label,
        "features": list(manifest["features"]),
        "target": str(manifest.get("target", "")),
        "definition": str(manifest.get("definition_hash", "")),
        "as_of": str(manifest.get("as_of", "")),
    }
    with exclusive(place.folder / ".services.lock"):
        notes = noted_services(place.home)
        if notes.get(name) != note:
            path = place.folder / _FILE
            draft = path.with_name(f".{_FILE}.draft")
            draft.write_text(json.dumps({**notes, name: note}, indent=1, sort_keys=True), encoding="utf-8")
            draft.replace(path)
    return name


def noted_services(home: Path) -> dict[str, dict[str, Any]]:
    """Service name -> its note, for every model version that this home has served."""
    path = home.absolute() / "feast" / _FILE
    try:
        notes: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return notes
