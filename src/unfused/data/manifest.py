"""From folders or a table of audio to a validated manifest, and a reason for each rejected file."""

from __future__ import annotations

import hashlib
import logging
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd

from ..core.progress import progress
from .label_sets import label_counts, label_set
from .reading import AudioInfo, UnreadableAudio, probe
from .sources import Labels, list_audio, list_rows
from .table import SPLIT_NAMES, ManifestError

log = logging.getLogger(__name__)
MANIFEST_TYPES = {
    "clip_id": "str",
    "corpus": "str",
    "path": "str",
    "offset": "int64",
    "frames": "int64",
    "sample_rate": "int64",
    "channels": "int64",
    "duration": "float64",
    "label": "object",
    "multi_label": "bool",
    "split": "object",
    "fold": "Int64",
    "group": "object",
    "digest": "str",
}
REJECTED_TYPES = {
    "corpus": "str",
    "path": "str",
    "offset": "Int64",
    "frames": "Int64",
    "stage": "str",
    "reason": "str",
}
_Audio = str | Path | Sequence[str | Path]
_Probed = tuple[AudioInfo, str] | str  # header and digest, or why the file is rejected


def scan_audio(
    audio: _Audio,
    *,
    corpus: str,
    labels: Labels = "auto",
    columns: Mapping[str, str] | None = None,
    listing: pd.DataFrame | None = None,
    label_separator: str | None = None,
    min_seconds: float = 0.01,
    max_seconds: float = 3600.0,
    n_jobs: int = -1,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """List and check audio; only headers are decoded.

    Args:
        audio: Folders (searched recursively), or CSV, TSV or Parquet tables with a column ``path``
            and optionally label, split, fold, group, offset, frames (the last two in the file's own
            samples). Paths in a table are absolute or relative to the table's folder.
        corpus: Name of the corpus in both tables.
        labels: Where labels come from. "folders": sub-folders are classes, ``unlabelled`` is none;
            "table": the table, or the folder's ``labels.csv``; "none": there are none; "auto": the
            table where there is one, else the sub-folders if they look like classes, else none.
        columns: Our name -> the table's column, where they differ.
        listing: The clips of the only folder in ``audio``, as a table in memory (a data set's own
            layout); ``labels`` and ``columns`` are not looked at then.
        label_separator: What stands between several labels of one clip (multi-label); None: a
            label is one class, whatever it contains.
        min_seconds: Shorter clips are rejected.
        max_seconds: Longer clips are rejected.
        n_jobs: Threads that read files; -1 takes one per core.

    Returns:
        The manifest with columns clip_id, corpus, path (absolute), offset, frames, sample_rate,
        channels, duration (s), label (several with bars between), multi_label, split (train, valid,
        test), fold, group (None where unknown) and digest (BLAKE2b-128 of the file); and the
        rejected clips with columns corpus, path, offset, frames, stage ("scan") and reason. Both in
        the order of the table or of the paths.

    Raises:
        ManifestError: Nothing usable was found, the table is malformed, a split has an unknown
            name, or there are labels but fewer than two classes.
    """
    sources = [audio] if isinstance(audio, str | Path) else list(audio)
    if listing is not None:
        tables = [list_rows(listing, Path(sources[0]), labelled=True)]
    else:
        tables = [list_audio(Path(source), labels, columns) for source in sources]
    if len(tables) > 1:  # the same name in two folders is two clips
        tables = [table.assign(name=f"{i}/" + table["name"]) for i, table in enumerate(tables)]
    listed = pd.concat(tables or [pd.DataFrame()], ignore_index=True)
    if listed.empty:
        raise ManifestError(
            f"no audio found in {[str(source) for source in sources]}: name a folder with audio "
            "files in it or below it, or a table whose column path lists them"
        )
    _check_splits(listed["split"])
    if label_separator is not None:
        listed["label"] = [label_set(text, label_separator) for text in listed["label"]]
    probed = _probe_all(listed["path"], n_jobs)
    accepted, rejected = _judge(listed, probed, corpus, (min_seconds, max_seconds))
    _warn_rejected(corpus, len(listed), rejected)
    if not accepted:
        reasons = "; ".join(f"{row['path']}: {row['reason']}" for row in rejected[:3])
        raise ManifestError(f"all {len(rejected)} clips of {corpus} were rejected: {reasons}")
    manifest = pd.DataFrame(accepted, columns=list(MANIFEST_TYPES))
    manifest = manifest.assign(multi_label=label_separator is not None).astype(MANIFEST_TYPES)
    _check_classes(manifest, corpus, listed["labelled"].any())
    return manifest, rejected_table(rejected)


def _judge(
    listed: pd.DataFrame,
    probed: Mapping[str, _Probed],
    corpus: str,
    seconds: tuple[float, float],
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Sort the listed clips into manifest rows and rejected rows."""
    accepted: list[dict[str, Any]] = []
    rejected: list[dict[str, Any]] = []
    first_of: dict[tuple[str, int, int], dict[str, Any]] = {}
    for row in listed.to_dict("records"):
        try:
            clip = _clip(row, probed[row["path"]], corpus, seconds)
            place = (clip["path"], clip["offset"], clip["frames"])
            _check_duplicate(clip, first_of.setdefault(place, clip))
            accepted.append(clip)
        except UnreadableAudio as error:
            rejected.append(
                {
                    "corpus": corpus,
                    "path": row["path"].encode(errors="backslashreplace").decode(),
                    **{name: _number_or_none(row[name]) for name in ("offset", "frames")},
                    "stage": "scan",
                    "reason": str(error),
                }
            )
    return accepted, rejected


def rejected_table(rejected: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return rejected clips as a table with the columns and types of :data:`REJECTED_TYPES`."""
    return pd.DataFrame(list(rejected), columns=list(REJECTED_TYPES)).astype(REJECTED_TYPES)


def _number_or_none(text: str) -> int | None:
    return int(text) if text.isdecimal() else None


def _clip(
    row: Mapping[str, Any], probed: _Probed, corpus: str, seconds: tuple[float, float]
) -> dict[str, Any]:
    """Return the manifest row of one listed clip, or raise why there is none."""
    if isinstance(probed, str):
        raise UnreadableAudio(probed)
    info, digest = probed
    offset = _whole(row["offset"], "offset", 0)
    frames = _whole(row["frames"], "frames", info.frames - offset)
    if frames < 1 or offset + frames > info.frames:
        raise UnreadableAudio(
            f"frames {offset} to {offset + frames} are not within the file's {info.frames}"
        )
    duration = frames / info.sample_rate
    if not seconds[0] <= duration <= seconds[1]:
        side = "shorter than min" if duration < seconds[0] else "longer than max"
        raise UnreadableAudio(
            f"{duration:.6g} s is {side}_seconds={seconds[duration > seconds[0]]}"
        )
    identity = "\0".join(map(str, (corpus, digest, row["name"], offset, frames)))
    return {
        "clip_id": hashlib.blake2b(identity.encode(), digest_size=10).hexdigest(),
        "corpus": corpus,
        "path": row["path"],
        "offset": offset,
        "frames": frames,
        "sample_rate": info.sample_rate,
        "channels": info.channels,
        "duration": duration,
        "label": row["label"] or None,
        "split": SPLIT_NAMES[row["split"].lower()] or None,
        "fold": _whole(row["fold"], "fold", None),
        "group": row["group"] or None,
        "digest": digest,
    }


def _whole(text: str, name: str, default: Any) -> Any:
    if not text:
        return default
    if not text.isdecimal():
        raise UnreadableAudio(f"{name} {text!r} is not a whole number of at least 0")
    return int(text)


def _check_duplicate(clip: Mapping[str, Any], first: Mapping[str, Any]) -> None:
    if first is clip:
        return
    reason = "duplicate of an earlier row with the same path, offset and frames"
    if first["label"] != clip["label"]:
        reason += f", which has another label: {first['label']!r}, this one {clip['label']!r}"
    raise UnreadableAudio(reason)


def _probe_all(paths: pd.Series, n_jobs: int) -> dict[str, _Probed]:
    """Read header and digest of every file once, in threads."""
    unique = list(dict.fromkeys(paths))
    workers = (os.cpu_count() or 1) if n_jobs < 1 else n_jobs
    with ThreadPoolExecutor(workers) as pool:
        results = pool.map(_probe_one, unique)
        bar = progress(results, total=len(unique), desc="checking audio", unit="file")
        return dict(zip(unique, bar, strict=True))


def _probe_one(path: str) -> _Probed:
    if not path:
        return "the table gives no path"
    try:
        path.encode()
        info = probe(path)
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16))
        return info, digest.hexdigest()
    except UnreadableAudio as error:
        return str(error)
    except UnicodeEncodeError:
        return "the file's name is not valid Unicode: rename it"
    except (OSError, ValueError) as error:  # a name with a NUL, a file gone meanwhile
        return f"unreadable: {error}"


def _check_splits(splits: pd.Series) -> None:
    unknown = sorted({split for split in splits if split.lower() not in SPLIT_NAMES})
    if unknown:
        known = [name for name in SPLIT_NAMES if name]
        raise ManifestError(f"unknown split names {unknown[:5]}: use {known}, or leave it empty")


def _check_classes(manifest: pd.DataFrame, corpus: str, labelled: bool) -> None:
    known = manifest["label"].dropna()
    counts = label_counts(known) if manifest["multi_label"].any() else Counter(known)
    if labelled and len(counts) < 2:
        raise ManifestError(
            f"the usable clips of {corpus} have {len(counts)} class(es) {sorted(counts)}; labels "
            "need at least 2: add another class, or scan with labels='none'"
        )
    single = sorted(label for label, count in counts.items() if count == 1)
    if single:
        log.warning("%s: only one clip has the label %s", corpus, ", ".join(single[:10]))
    if counts:
        log.info("%s: %d clips, %d labelled", corpus, len(manifest), len(known))


def _warn_rejected(corpus: str, n_listed: int, rejected: Sequence[Mapping[str, Any]]) -> None:
    if rejected:
        kinds = Counter(str(row["reason"]).split(":")[0] for row in rejected)
        text = ", ".join(f"{count} x {kind}" for kind, count in kinds.most_common(5))
        log.warning("%s: rejected %d of %d clips (%s)", corpus, len(rejected), n_listed, text)
