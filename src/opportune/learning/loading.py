"""Files of a champion -> the model in use, by what the manifest says it holds."""

from opportune.features.catalog import BY_NAME
from opportune.learning.model import LoadedModel
from opportune.learning.timing import HoursModel
from opportune.ports import ModelFiles

AnyModel = LoadedModel | HoursModel


def loaded(files: ModelFiles) -> AnyModel:
    """The model. Raises ValueError when it is not whole or not for this code."""
    features = files.manifest.get("features", [])
    is_hours = bool(features) and all(n in BY_NAME and BY_NAME[n].size == 24 for n in features)
    return HoursModel(files) if is_hours else LoadedModel(files)
