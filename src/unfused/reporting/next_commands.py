"""Commands worth trying after a run, from what the run was given."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_FULL = "longer training, three seeds, controls, every encoder fine-tuned"
CLASSIFY = "run --pipeline=classify --params new_audio=<folder>"
_KEDRO_CLASSIFY = f"kedro {CLASSIFY}"
_CLASSIFY = "the student's labels for new audio"
_VIZ = "the pipeline, its data and its figures in the browser"


def next_commands(parameters: Mapping[str, Any]) -> dict[str, str]:
    """Return commands and why to try them, the most useful first.

    Args:
        parameters: The resolved parameters, as plain values.
    """
    tasks, pools = parameters.get("tasks") or {}, parameters.get("pools") or {}
    own = (tasks.get("own_data") or {}).get("audio")
    more = (pools.get("pool") or {}).get("audio")
    return _with_make(own, more, pools) if Path("Makefile").is_file() else _elsewhere(own, more)


def _elsewhere(own: Any, more: Any) -> dict[str, str]:
    """Return commands of the installed package; a variable takes any path, ``--params`` no comma.

    >>> list(_elsewhere("my sounds", None))
    ["UNFUSED_AUDIO='my sounds' unfused run --pipeline=unfused --env=full", \
'unfused run --pipeline=classify --params new_audio=<folder>']
    """
    given = (_option("UNFUSED_AUDIO", own) + _option("UNFUSED_UNLABELLED", more)).lstrip()
    run = "unfused run --pipeline=unfused"
    full = {f"{given} {run} --env=full".lstrip(): _FULL, f"unfused {CLASSIFY}": _CLASSIFY}
    return full if own else {f"{run} --params data=<folder>": "the same on your own audio", **full}


def _with_make(own: Any, more: Any, pools: Mapping[str, Any]) -> dict[str, str]:
    """Return commands of the repository.

    >>> list(_with_make("my sounds", None, {}))[0]
    "make unfused DATA='my sounds' ENV=full"
    """
    if not own:
        return {
            "make unfused DATA=<folder>": "the same on your own audio",
            _KEDRO_CLASSIFY: _CLASSIFY,
            "make unfused ENV=full": _FULL,
            "make viz": _VIZ,
        }
    data = _option("DATA", own)
    given = data + _option("UNLABELLED", more)
    commands = {f"make unfused{given} ENV=full": _FULL}
    if not any((entry or {}).get("audio") for entry in pools.values()):
        commands[f"make unfused{data} UNLABELLED=<folder>"] = "pre-training on more audio of yours"
    return {**commands, _KEDRO_CLASSIFY: _CLASSIFY, f"make viz{given}": _VIZ}


def _option(name: str, audio: Any) -> str:
    """Return a variable for a command; several folders can only stand in the configuration."""
    return f" {name}={shlex.quote(audio)}" if isinstance(audio, str) else ""
