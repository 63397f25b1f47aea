"""The one training loop and what it stands on: batches, schedule, optimisers, checkpoints."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .batches import CropSource as CropSource
    from .checkpoint import CheckpointError as CheckpointError
    from .loop import TrainingDiverged as TrainingDiverged
    from .loop import fit as fit
    from .precision import pick_device as pick_device
    from .precision import pick_precision as pick_precision
    from .settings import TrainingSettings as TrainingSettings

_EXPORTS = {
    "CheckpointError": "checkpoint",
    "CropSource": "batches",
    "TrainingDiverged": "loop",
    "TrainingSettings": "settings",
    "fit": "loop",
    "pick_device": "precision",
    "pick_precision": "precision",
}
__all__ = sorted(_EXPORTS)


def __getattr__(name: str) -> Any:
    """Import what is asked for, and only that: settings are read before torch is needed."""
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_EXPORTS[name]}"), name)
