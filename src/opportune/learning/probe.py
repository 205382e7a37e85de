"""First load of a model, in a process of its own: `python -m opportune.learning.probe FOLDER NAME VERSION`.

A mutilated LightGBM text can crash whoever loads it. Exit 0: it loads and gives its golden rows; 1: it says why not.
"""

import sys
from pathlib import Path

from opportune.learning import manifest as manifests
from opportune.learning.loading import loaded
from opportune.ports import ModelFiles


def probe(folder: Path, name: str, version: str) -> None:
    """Load the model in a folder and check its golden rows. Raises ValueError, OSError."""
    text = (folder / manifests.MODEL).read_bytes().decode()
    manifest = manifests.parse((folder / manifests.MANIFEST).read_bytes())
    loaded(ModelFiles(name=name, version=version, manifest=manifest, text=text))


if __name__ == "__main__":
    for heavy in ("pandas", "sklearn", "pyarrow", "matplotlib", "dask", "graphviz"):
        sys.modules[heavy] = None  # type: ignore[assignment]  # LightGBM would import them all; a probe needs none
    try:
        probe(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
    except (ValueError, OSError) as problem:
        print(problem, file=sys.stderr)
        sys.exit(1)
