"""How `mlflow.pyfunc` loads our models: calibrated p from a DataFrame, for notebooks. Serving never comes here."""

from pathlib import Path
from typing import Any

from opportune.features import vector
from opportune.learning import manifest as manifests
from opportune.learning.loading import AnyModel, loaded
from opportune.ports import ModelFiles


class PyfuncModel:
    """Wraps a loaded model for `mlflow.pyfunc`."""

    def __init__(self, model: AnyModel) -> None:
        self._model = model

    def predict(self, frame: Any) -> Any:
        """Probabilities (n,) of a frame with one column per feature of the signature; extra columns are ignored."""
        return self._model.predict(vector.frame_to_matrix(frame, self._model.names))


def _load_pyfunc(path: str) -> PyfuncModel:
    folder = Path(path)
    manifest = manifests.parse((folder / manifests.MANIFEST).read_bytes())
    text = (folder / manifests.MODEL).read_bytes().decode()
    files = ModelFiles(name=manifest["name"], version=str(manifest["version"]), manifest=manifest, text=text)
    return PyfuncModel(loaded(files))
