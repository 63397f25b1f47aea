"""Commands worth trying after a run, from what the run was given."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

_FULL = "longer training, three seeds, controls, every encoder fine-tuned"
_VIZ = "the pipeline, its data and its figures in the browser"


def next_commands(parameters: Mapping[str, Any]) -> dict[str, str]:
    """Return commands and why to try them, the most useful first.

    Args:
        parameters: The resolved parameters, as plain values.

    >>> list(next_commands({"tasks": {"own_data": {"audio": "my sounds"}}}))[0]
    "make unfused DATA='my sounds' ENV=full"
    """
    own = ((parameters.get("tasks") or {}).get("own_data") or {}).get("audio")
    if not own:
        return {
            "make unfused DATA=<folder>": "the same on your own audio",
            "make unfused ENV=full": _FULL,
            "make viz": _VIZ,
        }
    pools = parameters.get("pools") or {}
    data = _option("DATA", own)
    given = data + _option("UNLABELLED", (pools.get("pool") or {}).get("audio"))
    commands = {f"make unfused{given} ENV=full": _FULL}
    if not any((entry or {}).get("audio") for entry in pools.values()):
        commands[f"make unfused{data} UNLABELLED=<folder>"] = "pre-training on more audio of yours"
    return {**commands, f"make viz{given}": _VIZ}


def _option(name: str, audio: Any) -> str:
    """Return a variable for make; several folders can only stand in the configuration."""
    return f" {name}={shlex.quote(audio)}" if isinstance(audio, str) else ""
