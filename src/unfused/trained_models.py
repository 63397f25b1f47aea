"""Which trained model ``classify`` and ``export`` take, from the configuration and the last run."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from .config import ProjectConfigLoader
from .core.errors import UserError

log = logging.getLogger(__name__)
STUDENTS = ("unfused", "unfused_full")


def used_model(parameters: dict[str, Any], tasks: list[str]) -> dict[str, Any]:
    """Return what the pipelines of inference are wired with.

    Args:
        parameters: The parameters.
        tasks: The tasks of a run with this configuration.

    Returns:
        ``task``; ``encoders``, the dataset that has the encoder, None for a network that was
        trained end to end; and ``stored``, whether a stored classifier takes their place.

    Raises:
        ValueError: ``model.encoder`` is nothing that could have been trained.
    """
    given = parameters.get("model") or {}
    encoder, networks = given.get("encoder", "unfused"), given.get("protocol") == "fine_tuning"
    methods = [name for name, entry in parameters["methods"].items() if entry is not None]
    known = [*STUDENTS, *methods]
    if not networks and encoder not in known:
        hint = " (with model.protocol=fine_tuning)" if encoder == "supervised" else ""
        raise UserError(f"model.encoder={encoder!r} is no encoder: choose from {known}{hint}")
    task = chosen_task(given.get("task"), tasks)
    of_encoder = f"{task}.students" if encoder in STUDENTS else f"{encoder}.encoders"
    return {
        "task": task,
        "encoders": None if networks else of_encoder,
        "stored": bool(given.get("folder")),
    }


def chosen_task(asked: str | None, tasks: list[str]) -> str:
    """Return the task that was asked for, one's own data if named, or the last run's first."""
    if asked:
        return asked
    studied = studied_tasks()
    return tasks[0] if tasks == ["own_data"] or not studied else studied[0]


def studied_tasks() -> list[str]:
    """Return the tasks of the last finished run; none where there was none.

    All pipelines are wired by way of this, so a damaged file is reported and stops none of them; a
    run that trains writes it anew.
    """
    entry = ProjectConfigLoader.current()["catalog"].get("study") or {}
    path = Path(entry.get("filepath", ""))
    if not path.is_file():
        return []
    try:
        return [task["name"] for task in json.loads(path.read_text(encoding="utf-8"))["tasks"]]
    except (ValueError, LookupError, TypeError, OSError) as error:
        log.warning(
            "%s is damaged (%s: %s): name the task with model.task=<task>, or run the study again, "
            "which reuses what it trained", path, type(error).__name__, error,
        )  # fmt: skip
        return []
