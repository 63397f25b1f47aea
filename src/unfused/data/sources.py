"""Where audio is listed: a table, a folder with a table, folders per class, or just a folder."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import pandas as pd

from .table import COLUMNS, SPLIT_NAMES, TABLE_SUFFIXES, ManifestError, read_table, text_label

log = logging.getLogger(__name__)
Labels = Literal["none", "folders", "table", "auto"]
FOLDER_TABLE = "labels.csv"
UNLABELLED = ("unlabelled", "unlabeled")
_NOT_AUDIO = frozenset(
    f".{suffix}"
    for suffix in (
        *("csv", "tsv", "parquet", "txt", "md", "rst", "json", "jsonl", "yaml", "yml", "toml"),
        *("xml", "html", "pdf", "tex", "log", "cfg", "ini", "py", "sh", "zip", "gz", "tar"),
        *("jpg", "jpeg", "png", "gif", "svg", "mid", "midi", "lab", "textgrid", "jams"),
        *("npy", "npz"),
    )
)


def corpus_name(audio: str | Sequence[str]) -> str:
    """Return what to call a corpus: its folder, or the folder of its table.

    >>> corpus_name("/audio/birds")
    'birds'
    """
    first = Path(audio if isinstance(audio, str) else audio[0]).expanduser().resolve()
    return first.parent.name if first.is_file() else first.name


def list_audio(source: Path, labels: Labels, columns: Mapping[str, str] | None) -> pd.DataFrame:
    """List the clips of one folder or table, without opening any audio.

    Args:
        source: The folder or the table; with ``labels="none"`` also a single audio file.
        labels: As :func:`unfused.data.manifest.scan_audio` takes it.
        columns: Our name -> the table's column.

    Returns:
        One row per clip, all str: path (absolute), name (path within the corpus), label, split,
        fold, group, offset and frames ("" where not given); and labelled (bool): whether labels
        are due.

    Raises:
        ManifestError: The source does not exist, or has no labels although they are asked for.
    """
    if labels not in ("none", "folders", "table", "auto"):
        raise ManifestError(f"labels={labels!r} must be 'none', 'folders', 'table' or 'auto'")
    source = Path(os.path.abspath(source))
    if source.suffix.lower() in TABLE_SUFFIXES and not source.is_dir():
        return _list_table(source, labels, columns)
    if source.is_file() and labels == "none":
        return list_rows(pd.DataFrame({"path": [str(source)]}, dtype=object), source.parent)
    if not source.is_dir():
        what = "is neither a folder nor a table" if source.exists() else "does not exist"
        raise ManifestError(
            f"{source} {what}: name a folder of audio or a table ({', '.join(TABLE_SUFFIXES)})"
        )
    if labels == "table" or (labels == "auto" and (source / FOLDER_TABLE).is_file()):
        return _list_table(source / FOLDER_TABLE, labels, columns)
    return _list_folder(source, labels)


def _list_table(path: Path, labels: Labels, columns: Mapping[str, str] | None) -> pd.DataFrame:
    if labels == "folders":
        raise ManifestError(f"labels='folders' needs a folder, {path} is a table: use 'table'")
    table = read_table(path, columns)
    if labels == "table" and "label" not in table:
        raise ManifestError(
            f"{path} has no column 'label'; it has {list(table.columns)}: name the column with "
            "columns={'label': ...}, or scan with labels='none'"
        )
    if labels == "none":
        table = table.assign(label="")
    return list_rows(table, path.parent, labelled=labels == "table")


def list_rows(table: pd.DataFrame, folder: Path, *, labelled: bool = False) -> pd.DataFrame:
    """List the clips of a table that is in memory.

    Args:
        table: Some of :data:`~unfused.data.table.COLUMNS`, as text; ``path`` at least.
        folder: What its paths are relative to.
        labelled: Whether labels are due even if it has none.

    Returns:
        As :func:`list_audio`.
    """
    table = table.reindex(columns=list(COLUMNS), fill_value="")
    table["path"] = [_resolve(text, folder) for text in table["path"]]
    table["name"] = [_name(text, folder) for text in table["path"]]
    return table.assign(labelled=labelled or bool((table["label"] != "").any()))


def _resolve(text: str, folder: Path) -> str:
    """Return the absolute path of a table's cell; Windows' separators are understood."""
    if not text.strip():
        return ""
    for candidate in (text, text.strip(), text.strip().replace("\\", "/")):
        path = os.path.abspath(folder / candidate)
        if os.path.exists(path):
            return path
    return os.path.abspath(folder / text)


def _name(path: str, folder: Path) -> str:
    inside = Path(path).is_relative_to(folder)
    return Path(path).relative_to(folder).as_posix() if inside else path


def _list_folder(folder: Path, labels: Labels) -> pd.DataFrame:
    names = _walk(folder)
    parts = [Path(name).parts[:-1] for name in names]
    tops = {part[0] for part in parts if part}
    by_split = labels != "none" and _are_splits(folder, tops)
    below = [bool(by_split and part and part[0].lower() not in UNLABELLED) for part in parts]
    splits = [part[0] if inner else "" for part, inner in zip(parts, below, strict=True)]
    classes = [
        text_label(part[inner]) if len(part) > inner else ""
        for part, inner in zip(parts, below, strict=True)
    ]
    unlabelled = [name.lower() in UNLABELLED for name in classes]
    found = {name for name, none in zip(classes, unlabelled, strict=True) if name and not none}
    labelled = labels == "folders" or (
        labels == "auto" and (len(found) >= 2 or (len(found) == 1 and any(unlabelled)))
    )
    if not labelled:
        classes = [""] * len(names)
    table = pd.DataFrame({"name": names, "path": [str(folder / name) for name in names]})
    table = table.reindex(columns=["name", *COLUMNS], fill_value="")
    table["label"] = ["" if none else name for name, none in zip(classes, unlabelled, strict=True)]
    table["split"] = splits
    return table.assign(labelled=labelled)


def _are_splits(folder: Path, tops: set[str]) -> bool:
    """Return whether the top folders, ``unlabelled`` aside, are parts of a split and no classes."""
    labelled = {top for top in tops if top.lower() not in UNLABELLED}
    splits = {top for top in labelled if top.lower() in SPLIT_NAMES}
    others = sorted(labelled - splits)
    if others and len({SPLIT_NAMES[top.lower()] for top in splits}) >= 2:
        raise ManifestError(
            f"{folder} has the folders {sorted(splits)}, which are parts of a split, beside "
            f"{others[:5]}, which are not: move these into a part or into {UNLABELLED[0]!r}, or "
            f"list the clips in {FOLDER_TABLE}; labels='none' takes all of them without labels"
        )
    return bool(splits) and not others


def _walk(folder: Path) -> list[str]:
    """Return the sorted relative paths of all files that may be audio."""
    names, ignored, seen = [], 0, set()
    for where, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(where)
        folders[:] = [name for name in folders if real not in seen and not name.startswith(".")]
        files = [] if real in seen else files  # a link that leads back
        seen.add(real)
        for name in files:
            if name.startswith(".") or Path(name).suffix.lower() in _NOT_AUDIO:
                ignored += 1
            else:
                names.append((Path(where) / name).relative_to(folder).as_posix())
    if ignored:
        log.info("%s: ignored %d hidden or non-audio files", folder, ignored)
    return sorted(names)
