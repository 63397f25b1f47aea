"""Parameters as plain values, and as one level of dotted names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from typing import Any


def plain(value: Any) -> Any:
    """Return parameters, typed or not, as JSON values."""
    if hasattr(value, "model_dump"):
        return plain(value.model_dump(mode="json"))
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [plain(item) for item in value]
    return value if isinstance(value, str | int | float | bool | type(None)) else str(value)


def flatten(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return dotted name -> value; lists stay whole, and an empty group is a value.

    >>> flatten({"run": {"seeds": [0, 1], "device": "cpu"}, "select": {}})
    {'run.seeds': [0, 1], 'run.device': 'cpu', 'select': {}}
    """
    flat: dict[str, Any] = {}
    for name, value in plain(parameters).items():
        if isinstance(value, dict) and value:
            flat.update({f"{name}.{inner}": item for inner, item in flatten(value).items()})
        else:
            flat[name] = value
    return flat
