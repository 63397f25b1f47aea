"""Low-resource audio representation learning: UnFuSeD, its relatives and the LAPE benchmark."""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.2.0.dev0"
_EXPORTS = {
    "load_encoder": "inference",
    "load_classifier": "inference",
    "LogMelStore": "data.store",
    "FrontEnd": "data.log_mel",
}
__all__ = [*_EXPORTS, "__version__"]


def __getattr__(name: str) -> Any:
    """Import what is asked for, and only that: importing torch takes seconds."""
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_EXPORTS[name]}"), name)
