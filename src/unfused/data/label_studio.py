"""Exports of Label Studio, as JSON or JSON-MIN: labelled pieces of recordings, or whole ones."""

import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlparse

import pandas as pd

from ..core.errors import UserError

COLUMNS = ["path", "label", "start", "end"]
_CONTROLS = ("label", "labels", "choice", "class", "category", "species", "sound", "event")
_PREFIX = re.compile(r"^[0-9a-f]{8}-")  # of an uploaded file's name


def read_label_studio(path: Path, control: str | None = None) -> pd.DataFrame:
    """Return a row for each label of each task, :data:`COLUMNS` as text; "" where there is none.

    Regions with labels are pieces of a recording, in seconds; where a task has none, its choices
    label the whole recording. Audio lies beside the JSON file or in a folder there. ``control`` is
    the name of the labelling in JSON-MIN, where it is none of the usual ones.

    Raises:
        UserError: It is no such export, or a recording may be one of several files.
    """
    try:
        tasks = json.loads(path.read_bytes())
        rows = [row for task in tasks for row in _labels_of(task, control)]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(
            f"{path} is no export of Label Studio (a list of tasks with 'audio'): export it as "
            "JSON or JSON-MIN, or give a table"
        ) from error
    if control is not None and tasks and not any(control in task for task in tasks):
        raise UserError(f"no task of {path} has {control!r}, only {list(tasks[0])}")
    table, there = pd.DataFrame(rows, columns=COLUMNS, dtype=object), dict[str, list[str]]()
    known = {audio: _local(audio, path.parent, there) for audio in table["path"].unique()}
    return table.assign(path=table["path"].map(known))


def _labels_of(task: Mapping[str, Any], control: str | None) -> Iterator[tuple[str, str, str, str]]:
    """Yield path, label, start and end of each label of a task; of one without labels the path."""
    if "data" in task:
        audio = task["data"]["audio"]
        done = [made for made in task.get("annotations", []) if not made.get("was_cancelled")]
        regions = [item["value"] for made in done for item in made["result"] if "value" in item]
    else:
        audio, regions = task["audio"], list(_regions_of_minimal(task, control))
    pieces = [region for region in regions if "labels" in region]
    for region in pieces or [region for region in regions if "choices" in region] or [{}]:
        names = region.get("labels") or region.get("choices") or []
        start, end = (str(region.get(name, "")) for name in ("start", "end"))
        yield str(audio), "|".join(names), start, end


def _regions_of_minimal(task: Mapping[str, Any], control: str | None) -> Iterator[dict[str, Any]]:
    """Yield the regions and choices of a task in JSON-MIN, in which the data stand beside them."""
    names = _CONTROLS if control is None else (control,)
    for name, value in task.items():
        for item in value if isinstance(value, list) else [value]:
            if name in names and isinstance(item, str):
                yield {"choices": [item]}
            elif isinstance(item, dict) and ("labels" in item or name in names):
                yield item


def _local(audio: str, folder: Path, there: dict[str, list[str]]) -> str:
    """Return where a task's audio lies in a folder; as the task says where it is not there.

    ``there``: name -> files, filled when it is first needed.
    """
    address = urlparse(audio)
    said = parse_qs(address.query).get("d", [unquote(address.path)])[0].lstrip("/")
    if (folder / said).is_file():
        return said
    if not there:
        for where, folders, files in os.walk(folder):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in files:
                there.setdefault(name, []).append(os.path.join(where, name))
    parts = said.split("/")
    found = there.get(parts[-1]) or there.get(_PREFIX.sub("", parts[-1])) or [said]
    best = found
    for n in range(1, len(parts) + 1):  # the longer the common end, the better
        best = [file for file in best if file.split(os.sep)[-n:] == parts[-n:]] or best
    if len(best) > 1:
        raise UserError(f"{audio} may be {best[0]} or {best[1]}: export with the whole paths")
    return best[0]
