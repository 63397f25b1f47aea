"""Low-resource audio representation learning: UnFuSeD, its relatives and the LAPE benchmark."""

from importlib import import_module
from typing import Any

__version__ = "0.2.0.dev0"
_EXPORTS = {
    "load_encoder": "inference",
    "load_classifier": "inference",
    "Classifier": "inference",
    "Corpus": "tasks.corpus",
    "UnFuSeD": "distillation.unfused",
    "ReadOut": "embeddings.read_out",
    "LogMelStore": "data.store",
    "FrontEnd": "data.log_mel",
}
_METHODS = (
    *("BYOLA", "COLA", "ConformerWav2vec2", "DECAR"),
    *("DeLoReSM", "DeLoReSS", "SELFIE", "SLICER"),
)
__all__ = [*_EXPORTS, *_METHODS, "__version__"]


def __getattr__(name: str) -> Any:
    """Import what is asked for, and only that: importing torch takes seconds."""
    if name in _EXPORTS:
        return getattr(import_module(f"{__name__}.{_EXPORTS[name]}"), name)
    if name[:1].isupper():  # the estimator of a method, perhaps of one in a new file
        return getattr(import_module(f"{__name__}.training.pretraining"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
