"""The one training loop and what it stands on: batches, schedule, optimisers, checkpoints."""

from .batches import CropSource
from .checkpoint import CheckpointError
from .loop import TrainingDiverged, fit
from .precision import pick_device, pick_precision
from .settings import TrainingSettings

__all__ = [
    "CheckpointError",
    "CropSource",
    "TrainingDiverged",
    "TrainingSettings",
    "fit",
    "pick_device",
    "pick_precision",
]
