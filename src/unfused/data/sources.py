"""Where audio is listed: a table, a folder with a table, folders per class, or just a folder."""

import logging
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from .annotations import list_tracks
from .table import KNOWN_AS, SPLIT_NAMES, TABLE_SUFFIXES, ManifestError, read_table, text_label

log = logging.getLogger(__name__)
WAYS = ("none", "folders", "table", "tracks", "auto")  # or a regular expression for names of files
_IN_NAMES = ("label", "group", "split", "fold")
Columns = Mapping[str, str | None] | None
FOLDER_TABLE = "labels.csv"
UNLABELLED = ("unlabelled", "unlabeled")
_NOT_AUDIO = frozenset(
    (".csv", ".tsv", ".parquet", ".txt", ".md", ".rst", ".json", ".jsonl", ".yaml", ".yml",
     ".toml", ".xml", ".html", ".pdf", ".tex", ".log", ".cfg", ".ini", ".py", ".sh", ".zip", ".gz",
     ".tar", ".jpg", ".jpeg", ".png", ".gif", ".svg", ".mid", ".midi", ".lab", ".textgrid", ".jams",
     ".npy", ".npz")
)  # fmt: skip


def corpus_name(audio: str | Sequence[str]) -> str:
    """Return what to call a corpus: its folder, or the folder of its table.

    >>> corpus_name("/audio/birds")
    'birds'
    """
    first = Path(audio if isinstance(audio, str) else audio[0]).expanduser().resolve()
    return first.parent.name if first.is_file() else first.name


def list_audio(source: Path, labels: str, columns: Columns) -> pd.DataFrame:
    """List the clips of one folder or table, without opening any audio.

    Arguments as of :func:`unfused.data.manifest.scan_audio`; with ``labels="none"`` the source may
    be a single audio file. There is one row per clip, all str: path (absolute), name (path within
    the corpus), label, split, fold, group, offset and frames ("" where not given); and labelled
    (bool): whether labels are due.

    Raises:
        ManifestError: The source does not exist, or has no labels although they are asked for.
    """
    pattern = name_pattern(labels)
    source = Path(os.path.abspath(source))
    if pattern is not None and source.is_file():
        raise ManifestError(f"labels={labels!r} is for the files of a folder; {source} is a table")
    if source.is_dir():
        if pattern is not None:
            return _list_by_name(source, pattern)
        if labels == "table" or (labels == "auto" and (source / FOLDER_TABLE).is_file()):
            return _list_table(source / FOLDER_TABLE, labels, columns)
        return _list_folder(source, labels)
    if source.suffix.lower() in TABLE_SUFFIXES:
        return _list_table(source, labels, columns)
    if source.is_file() and labels == "none":
        return list_rows(pd.DataFrame({"path": [str(source)]}, dtype=object), source.parent)
    what = "is neither a folder nor a table" if source.exists() else "does not exist"
    raise ManifestError(
        f"{source} {what}: name a folder of audio or a table ({', '.join(TABLE_SUFFIXES)})"
    )


def name_pattern(labels: str) -> re.Pattern[str] | None:
    """Return the pattern of file names that ``labels`` is; None for one of :data:`WAYS`.

    Raises:
        ManifestError: It is neither.
    """
    if labels in WAYS:
        return None
    try:
        pattern = re.compile(labels)
    except re.error:
        pattern = re.compile("")
    groups = set(pattern.groupindex)
    if "label" not in groups or groups - set(_IN_NAMES):
        raise ManifestError(
            f"labels={labels!r} must be one of {list(WAYS)}, or a regular expression for the names "
            f"of files with a group (?P<label>...), and maybe others of {list(_IN_NAMES)}"
        )
    return pattern


def _list_by_name(folder: Path, pattern: re.Pattern[str]) -> pd.DataFrame:
    names = _walk(folder)
    found = [
        None if name.split("/")[0].lower() in UNLABELLED else pattern.search(name) for name in names
    ]
    if names and not any(found):
        raise ManifestError(
            f"labels={pattern.pattern!r} is found in no name, such as {names[0]!r}, in {folder}"
        )
    texts = [match.groupdict("") if match else {} for match in found]
    rows = pd.DataFrame([{key: text_label(text) for key, text in row.items()} for row in texts])
    return list_rows(rows.fillna("").assign(path=names), folder, labelled=True)


def _list_table(path: Path, labels: str, columns: Columns) -> pd.DataFrame:
    if labels == "folders":
        raise ManifestError(f"labels='folders' needs a folder, {path} is a table: use 'table'")
    table = read_table(path, columns)
    if labels == "table" and "label" not in table:
        raise ManifestError(
            f"{path} has no column 'label', nor one of {KNOWN_AS['label'][1:]}: name it with "
            "columns={'label': ...}, or scan with labels='none'"
        )
    if labels == "none":
        table = table.assign(label="")
    return list_rows(table, path.parent, labelled=labels == "table")


def list_rows(table: pd.DataFrame, folder: Path, *, labelled: bool = False) -> pd.DataFrame:
    """List the clips of a table in memory, as :func:`list_audio`; paths are relative to a folder.

    It has columns of :data:`~unfused.data.table.KNOWN_AS` as text, ``path`` at least. Labels are
    due where there are any, or if ``labelled`` says so.
    """
    table = table.reindex(columns=list(KNOWN_AS), fill_value="")
    paths = [_resolved(text, folder) for text in table["path"]]
    places = (folder, folder.parent / "audio")  # in them, names are the same wherever the data lie
    names = [
        Path(os.path.relpath(path, folder)).as_posix()
        if any(Path(path).is_relative_to(place) for place in places)
        else path
        for path in paths
    ]
    labelled = labelled or bool((table["label"] != "").any())
    return table.assign(path=paths, name=names, labelled=labelled)


def _resolved(text: str, folder: Path) -> str:
    """Return the absolute path of a table's cell; Windows' separators are understood.

    It is relative to the table's folder, or to a folder ``audio`` in or beside that, and leads
    nowhere else, unless it is absolute: a table may come from somebody else.
    """
    if not text.strip():
        return ""
    beside = folder.parent / "audio"
    for place in (folder, folder / "audio", beside):
        for candidate in (text, text.strip(), text.strip().replace("\\", "/")):
            path = Path(os.path.abspath(place / candidate))
            inside = path.is_relative_to(folder) or path.is_relative_to(beside)
            if not (inside or os.path.isabs(candidate)):
                raise ManifestError(
                    f"path {text!r} leads out of {folder}, where its table lies: write the "
                    "absolute path if that is meant, or put the table in a folder above the audio"
                )
            if path.exists():
                return str(path)
    return os.path.abspath(folder / text)


def _list_folder(folder: Path, labels: str) -> pd.DataFrame:
    names = _walk(folder)
    folders = [Path(name).parts[:-1] for name in names]
    by_split = labels != "none" and _are_splits(folder, {part[0] for part in folders if part})
    splits, found = [], []  # of each file: its part, and the folder that may be its class
    for part in folders:
        in_split = bool(by_split and part and part[0].lower() not in UNLABELLED)
        splits.append("".join(part[:in_split]))
        found.append(text_label("".join(part[in_split : in_split + 1])))
    tracks = list_tracks(folder, names) if labels in ("tracks", "auto") else None
    if tracks is None and labels == "tracks":
        raise ManifestError(f"{folder} has no label track beside a recording: see labels='auto'")
    unlabelled = {name for name in found if name.lower() in UNLABELLED}
    classes = set(found) - unlabelled - {""}
    labelled = labels == "folders" or (labels == "auto" and len(classes) + bool(unlabelled) >= 2)
    for pattern in ("*.[ct]sv", "*/*.[ct]sv") if labels == "auto" and not labelled else ():
        if tables := sorted(folder.glob(pattern)):
            text = "%s has no class folders, but %s: to take labels from it name it as data"
            log.warning(text, folder, tables[0])
            break
    if not labelled and (labels == "none" or set(found) != classes):  # one class is a label too
        classes = set()
    if tracks is not None:
        heard = set(tracks.loc[tracks["start"] != "", "path"])
        annotated = {part for name, part in zip(names, found, strict=True) if name in heard}
        if labels == "auto" and len(classes) > 1 and (without := sorted(classes - annotated)):
            raise ManifestError(
                f"{folder} has label tracks beside recordings in {sorted(annotated)[:3]}, and "
                f"folders without any, such as {without[:3]}: labels='folders' takes the names of "
                "folders, labels='tracks' the annotations"
            )
        n_labels = (tracks["label"] != "").sum()
        log.info("%s: %d labels from tracks beside the recordings", folder, n_labels)
        split = tracks["path"].map(dict(zip(names, splits, strict=True)))
        return list_rows(tracks.assign(split=split), folder, labelled=True)
    table = pd.DataFrame({
        "name": names, "path": [str(folder / name) for name in names], "split": splits,
        "label": [name if name in classes else "" for name in found],
    })  # fmt: skip
    return table.reindex(columns=["name", *KNOWN_AS], fill_value="").assign(labelled=labelled)


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
    names, n_files, seen = [], 0, set()
    for where, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(where)
        if real in seen:  # a link that leads back
            folders[:], files = [], []
        seen.add(real)
        folders[:] = [name for name in folders if not name.startswith(".")]
        n_files += len(files)
        below = Path(where).relative_to(folder)
        audio = [name for name in files if Path(name).suffix.lower() not in _NOT_AUDIO]
        names += [(below / name).as_posix() for name in audio if not name.startswith(".")]
    if n_files > len(names):
        log.info("%s: ignored %d hidden or non-audio files", folder, n_files - len(names))
    return sorted(names)
