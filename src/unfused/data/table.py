"""Tables that list audio: CSV, TSV, Parquet and Label Studio's JSON, read as text."""

import csv
import io
import json
import logging
import os
import re
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlparse

import pandas as pd

from ..core.errors import UserError

log = logging.getLogger(__name__)
TABLE_SUFFIXES = (".csv", ".tsv", ".txt", ".parquet", ".json")
KNOWN_AS = {  # ours, and what people and Raven, BirdNET and DCASE call it; the first one is taken
    "path": ("path", "filename", "file", "file_path", "audio", "begin path", "begin file"),
    "label": ("label", "category", "class", "species", "target", "annotation", "common name",
              "event_label"),
    "split": ("split",),
    "fold": ("fold",),
    "group": ("group", "speaker", "recording"),
    "offset": ("offset",),
    "frames": ("frames",),
    "start": ("start", "start_seconds", "start_time", "begin time (s)", "start (s)", "onset"),
    "end": ("end", "end_seconds", "end_time", "end time (s)", "end (s)"),
}  # fmt: skip
SPLIT_NAMES = {
    "": "",
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("valid", "validation", "val", "dev"), "valid"),
    **dict.fromkeys(("test", "testing", "eval"), "test"),
}
_STUDIO = ["path", "label", "start", "end"]
_CONTROLS = ("label", "labels", "choice", "class", "category", "species", "sound", "event")
_PREFIX = re.compile(r"^[0-9a-f]{8}-")  # of an uploaded file's name


class ManifestError(UserError):
    """The audio, or the table that lists it, cannot be used; the message says how to mend it."""


def read_table(
    path: Path, columns: Mapping[str, str | None] | None = None, *, needed: str = "path"
) -> pd.DataFrame:
    """Return those columns of :data:`KNOWN_AS` that a table has, as str; "" for an empty cell.

    It is a .csv, .tsv, .txt or .parquet file, or a .json file that Label Studio exported. Text may
    be UTF-8, UTF-16 or Windows-1252, and separated by comma, semicolon, tab or bar. Capitals in the
    header do not matter. ``columns`` are our names -> the table's column, where it is not
    recognised; None: the table's column of that name means something else and is not taken.

    Raises:
        ManifestError: The table is missing or malformed, has no rows, or lacks a column.
    """
    if not path.is_file():
        raise ManifestError(f"the table {path} does not exist: name a CSV, TSV or Parquet file")
    given = dict(columns or {})
    if path.suffix.lower() == ".json":
        table = read_label_studio(path, given.pop("label", None))
    elif path.suffix.lower() == ".parquet":
        table = _read_parquet(path)
    else:
        table = _read_text(path)
    if unknown := sorted(set(given) - set(KNOWN_AS)):
        raise ManifestError(f"columns names {unknown}; it may name {list(KNOWN_AS)}")
    named = {ours: column for ours, column in given.items() if column is not None}
    source: dict[str, str] = {}
    header = {column.casefold(): column for column in reversed(table.columns)}
    header |= {column: column for column in table.columns}
    if "onset" in header and "offset" in header:  # DCASE: from when to when, in seconds
        named = {"end": header.pop("offset"), **named}
    for ours, names in KNOWN_AS.items():
        if given.get(ours, "") is None:
            continue
        meant_otherwise = set(named.values()) - {ours}
        found = [header[name] for name in names if name in header]
        if found := [column for column in found if column not in meant_otherwise]:
            source[ours] = found[0]
    source |= named
    missing = [column for column in source.values() if column not in table]
    if missing or needed not in source:
        raise ManifestError(
            f"{path} has no column {', '.join(map(repr, missing or [needed]))}; it has "
            f"{list(table.columns)}: rename one, or say which stands for what, "
            f"columns={{{needed!r}: ...}}",
            remedy="columns",
        )
    if table.empty:
        raise ManifestError(f"{path} has a header but no rows: list at least one audio file")
    taken = [f"{name!r} as {ours}" for ours, name in source.items() if ours not in {name, *named}]
    if taken:
        log.info("%s: taking the column %s", path, ", ".join(taken))
    chosen = {ours: table[name] for ours, name in source.items()}
    if "file offset (s)" in header and source.get("start", "").casefold() == "begin time (s)":
        first = table[header["file offset (s)"]]  # Raven's times run on from file to file
        begin, end = (pd.to_numeric(chosen[name], "coerce") for name in ("start", "end"))
        chosen |= {"start": first, "end": (pd.to_numeric(first, "coerce") + end - begin).round(6)}
    texts = {ours: cells.map(text_label) for ours, cells in chosen.items() if ours != "path"}
    return pd.DataFrame(chosen | texts, dtype=object)


def text_label(value: object) -> str:
    """Return a cell as the label it stands for: NFC text without outer blanks, "" for none.

    >>> text_label(" 01"), text_label(3.0), text_label(None)
    ('01', '3', '')
    """
    if value is None or value is pd.NA or (isinstance(value, float) and value != value):
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # Parquet stores whole numbers with gaps as floats
    return unicodedata.normalize("NFC", str(value)).strip()


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_parquet(path)
    except Exception as error:  # pyarrow's many kinds
        raise ManifestError(f"{path} is no readable Parquet file: {error}") from error
    texts = table.map(lambda cell: cell if isinstance(cell, str) else text_label(cell))
    return texts.rename(columns=str)


def _read_text(path: Path) -> pd.DataFrame:
    text = decode(path.read_bytes())
    separator = max(",;\t|", key=text.lstrip().split("\n", 1)[0].count)
    try:
        reader = csv.reader(io.StringIO(text), delimiter=separator)
        lines = [(reader.line_num, row) for row in reader if any(row)]
    except csv.Error as error:
        raise ManifestError(f"{path} is no readable table: {error}") from error
    if not lines:
        raise ManifestError(f"{path} is empty: it needs a header with at least a column 'path'")
    header = [name.strip() for name in lines[0][1]]
    if twice := sorted({name for name in header if name and header.count(name) > 1}):
        raise ManifestError(f"{path} names the column {twice[0]!r} twice: rename one of them")
    for number, row in lines[1:]:
        if len(row) != len(header):
            raise ManifestError(
                f"{path}, line {number}: {len(row)} cells under {len(header)} columns; quote cells "
                f"that contain {separator!r}"
            )
    return pd.DataFrame([row for _, row in lines[1:]], columns=header, dtype=object)


def decode(data: bytes) -> str:
    """Return a text file's content: UTF-8, UTF-16 or Windows-1252."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16")
    if b"\0" in data[:2]:  # UTF-16 without its mark; a table starts with a letter of ASCII
        return data.decode("utf-16-be" if data[0] == 0 else "utf-16-le", errors="replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")


def read_label_studio(path: Path, control: str | None = None) -> pd.DataFrame:
    """Return path, label, start and end, as text, of each label of each task; "" for none.

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
    table, there = pd.DataFrame(rows, columns=_STUDIO, dtype=object), dict[str, list[str]]()
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
