"""From folders or a table of audio to a validated manifest, and a reason for each rejected file."""

import hashlib
import itertools
import logging
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd

from ..core.progress import progress
from .label_sets import label_counts, label_set
from .reading import AudioInfo, UnreadableAudio, probe
from .sources import list_audio, list_rows
from .table import SPLIT_NAMES, ManifestError

log = logging.getLogger(__name__)
POSITION = ["offset", "frames"]
_FEW = 5  # clips of a class
_ROUNDED = 0.1  # seconds by which an annotation may end after its file
AUDIO_KEY = ["clip_id", "digest", *POSITION]
"""Which audio a clip is, whatever its file is called."""
MANIFEST_TYPES = {
    **dict.fromkeys(("clip_id", "corpus", "path"), "str"),
    **dict.fromkeys(("offset", "frames", "sample_rate", "channels"), "int64"),
    **{"duration": "float64", "label": "object", "multi_label": "bool", "split": "object"},
    **{"fold": "Int64", "group": "object", "digest": "str"},
}
REJECTED_TYPES = {
    **{"corpus": "str", "path": "str", "offset": "Int64", "frames": "Int64"},
    **{"stage": "str", "reason": "str"},
}
_Probed = tuple[AudioInfo, str] | str  # header and digest, or why the file is rejected


def scan_audio(
    audio: str | Path | Sequence[str | Path],
    *,
    corpus: str,
    labels: str = "auto",
    columns: Mapping[str, str | None] | None = None,
    listing: pd.DataFrame | None = None,
    label_separator: str | None = None,
    min_seconds: float = 0.01,
    max_seconds: float = 3600.0,
    window_seconds: float | None = None,
    labelled_since: str | Path | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """List and check audio; only headers are decoded.

    Args:
        audio: Folders (searched recursively), or CSV, TSV or Parquet tables with a column ``path``
            and optionally label, split, fold, group; start and end of the clip in seconds, or
            offset and frames in the file's own samples. Paths in a table are absolute or relative
            to the table's folder.
        corpus: Name of the corpus in both tables.
        labels: Where labels come from: "folders" (sub-folders are classes, ``unlabelled`` is none);
            "table" (or the folder's ``labels.csv``); "tracks" beside recordings; "none"; "auto":
            the table if there is one, else tracks, else sub-folders that look like classes; or a
            regular expression for the paths of files in the folder, with a group
            ``(?P<label>...)``, and maybe ``group``, ``split``, ``fold``.
        columns: Our name -> the table's column, where they differ.
        listing: The clips of the only folder in ``audio``, as a table in memory (a data set's own
            layout); ``labels`` and ``columns`` are not looked at then.
        label_separator: What stands between several labels of one clip; None: a label is one class.
        min_seconds: Shorter clips are rejected.
        max_seconds: Longer clips are rejected.
        window_seconds: Clips without a label that are longer than three of these windows are cut
            into them; None: they are not.
        labelled_since: A table of clips that have got a label since, in ``audio`` or not.

    Returns:
        The manifest with columns clip_id, corpus, path (absolute), offset, frames, sample_rate,
        channels, duration (s), label (several with bars between), multi_label, split (train, valid,
        test), fold, group (None where unknown; the digest, of several clips of one recording) and
        digest (BLAKE2b-128 of the file); and the
        rejected clips with columns corpus, path, offset, frames, stage ("scan") and reason. Both in
        the order of the table or of the paths.

    Raises:
        ManifestError: Nothing usable was found, the table is malformed, a split has an unknown
            name, or there are labels but fewer than two classes.
    """
    sources = [Path(source) for source in ([audio] if isinstance(audio, str | Path) else audio)]
    if listing is not None:
        tables = [list_rows(listing, sources[0], labelled=True)]
    else:
        tables = [list_audio(source, labels, columns) for source in sources]
    if len(tables) > 1:  # the same name in two folders is two clips
        tables = [table.assign(name=f"{i}/" + table["name"]) for i, table in enumerate(tables)]
    if labelled_since is not None:
        since = list_audio(Path(labelled_since), "table", None)
        tables.append(since.assign(name="since/" + since["name"]))
    listed = pd.concat(tables or [pd.DataFrame()], ignore_index=True)
    if listed.empty:
        raise ManifestError(
            f"no audio found in {[str(source) for source in sources]}: name a folder with audio "
            "files in it or below it, or a table whose column path lists them"
        )
    if unknown := sorted({text for text in listed["split"] if text.lower() not in SPLIT_NAMES}):
        known = [name for name in SPLIT_NAMES if name]
        raise ManifestError(f"unknown split names {unknown[:5]}: use {known}, or leave it empty")
    if label_separator is not None:
        listed["label"] = [label_set(text, label_separator) for text in listed["label"]]
    accepted, rejected = _judge(listed, corpus, (min_seconds, max_seconds), window_seconds)
    if rejected:
        kinds = Counter(row["reason"].split(":")[0] for row in rejected)
        text = ", ".join(f"{count} x {kind}" for kind, count in kinds.most_common(5))
        log.warning("%s: rejected %d of %d clips (%s)", corpus, len(rejected), len(listed), text)
    if not accepted:
        reasons = "; ".join(f"{row['path']}: {row['reason']}" for row in rejected[:3])
        raise ManifestError(f"all {len(rejected)} clips of {corpus} were rejected: {reasons}")
    manifest = pd.DataFrame(accepted, columns=list(MANIFEST_TYPES))
    manifest = manifest.assign(multi_label=label_separator is not None).astype(MANIFEST_TYPES)
    manifest = with_recordings(manifest)
    if listed["labelled"].any():
        check_classes(manifest)
    counts = class_counts(manifest)
    if rare := sorted((count, label) for label, count in counts.items() if count < _FEW):
        named = ", ".join(f"{label} ({count})" for count, label in rare[:10])
        text = "%s: few clips have the label %s; what is said of them is a guess"
        log.warning(text, corpus, named)
    if counts:
        n_labelled = manifest["label"].notna().sum()
        log.info("%s: %d clips, %d labelled", corpus, len(manifest), n_labelled)
    return manifest, rejected_table(rejected)


def class_counts(manifest: pd.DataFrame) -> Counter[str]:
    """Return how many clips each class has."""
    labels = manifest["label"].dropna()
    several = "multi_label" in manifest and manifest["multi_label"].any()
    return label_counts(labels) if several else Counter(labels)


def check_classes(manifest: pd.DataFrame) -> None:
    """See that there are at least two classes to tell apart.

    Raises:
        ManifestError: There are none, or only one, which is named.
    """
    classes = list(class_counts(manifest))
    if len(classes) < 2:
        found = f"only one class: {classes[0]}" if classes else "no labels"
        raise ManifestError(
            f"{manifest['corpus'].iloc[0]} has {found}; at least 2 classes are needed: make one "
            "folder per class, or list the files in a table with the columns path and label. Audio "
            "that is to have no labels is scanned with labels='none'"
        )


def rejected_table(rejected: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return rejected clips as a table with the columns and types of :data:`REJECTED_TYPES`."""
    return pd.DataFrame(list(rejected), columns=list(REJECTED_TYPES)).astype(REJECTED_TYPES)


def with_recordings(manifest: pd.DataFrame) -> pd.DataFrame:
    """Let clips without a group that share a file, or whose files are copies, be one: its digest.

    Where another clip of the file has a group, it is theirs, too.
    """
    digests = manifest["digest"].where(manifest["digest"].fillna("") != "")
    group = manifest["group"].astype(object)
    of_file = digests.map(group.groupby(digests).first()).astype(object)
    of_file = of_file.where(of_file.notna(), digests.where(digests.duplicated(keep=False)))
    group = group.where(group.notna(), of_file)
    return manifest.assign(group=group.where(group.notna(), None))


def groups_of(clips: pd.DataFrame) -> np.ndarray | None:
    """Return speaker or recording of each clip, (N,) str, or None where that is known of none.

    A clip without one is its own.
    """
    known = clips["group"].notna()
    alone = "clip " + clips["clip_id"].astype(str)
    return clips["group"].where(known, alone).to_numpy().astype(str) if known.any() else None


def same_audio(clips: pd.DataFrame, others: pd.DataFrame) -> np.ndarray:
    """Return which of ``clips`` share audio with any of ``others``, (N,) bool.

    Files are compared by the digest of their bytes, column digest. Where both tables have
    ``offset`` and ``frames``, only overlapping parts of a file count (NaN: all of it); else a
    common file is enough.
    """
    known = (clips["digest"].fillna("") != "").to_numpy()
    common = known & clips["digest"].isin(others["digest"]).to_numpy()
    if not all(column in table for table in (clips, others) for column in POSITION):
        return common
    whole = {"offset": 0.0, "frames": np.inf}
    clips, others = clips.fillna(whole), others.fillna(whole)
    shared = np.zeros(len(clips), dtype=bool)
    theirs = others.loc[others["digest"].isin(clips.loc[common, "digest"]), ["digest", *POSITION]]
    rows_of = clips.assign(row=np.arange(len(clips)))[common].groupby("digest")["row"]
    rows = {digest: found.to_numpy() for digest, found in rows_of}
    for digest, parts in theirs.sort_values("offset").groupby("digest"):
        starts = parts["offset"].to_numpy()
        ends = np.maximum.accumulate(starts + parts["frames"].to_numpy())  # of all up to here
        mine = clips.iloc[rows[digest]]
        begun = np.searchsorted(starts, (mine["offset"] + mine["frames"]).to_numpy())
        last = ends[np.maximum(begun - 1, 0)]
        shared[rows[digest]] = (begun > 0) & (last > mine["offset"].to_numpy())
    return shared


def _judge(
    listed: pd.DataFrame, corpus: str, seconds: tuple[float, float], window: float | None
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Sort the listed clips into manifest rows and rejected rows; every file is read once."""
    paths = listed["path"].unique()
    with ThreadPoolExecutor(joblib.cpu_count()) as pool:
        results = pool.map(_probe_one, paths)
        bar = progress(results, total=len(paths), desc="checking audio", unit="file")
        probed = dict(zip(paths, bar, strict=True))
    accepted, rejected = dict[tuple[str, int, int], dict[str, Any]](), list[dict[str, Any]]()
    for row in (part for one in listed.to_dict("records") for part in _parts(one, probed, window)):
        try:
            clip = _clip(row, probed[row["path"]], corpus, seconds)
            place = clip["path"], clip["offset"], clip["frames"]
            first = accepted.setdefault(place, clip)
            if clip["label"] and not first["label"]:  # it has got a label since
                kept = {key: first[key] for key in ("split", "fold", "group") if clip[key] is None}
                accepted[place] = {**clip, **kept}
            elif first is not clip:
                reason = "duplicate of an earlier row with the same path, offset and frames"
                if clip["label"] and first["label"] != clip["label"]:
                    labels = f"{first['label']!r}, this one {clip['label']!r}"
                    reason += f", which has another label: {labels}"
                raise UnreadableAudio(reason)
        except UnreadableAudio as error:
            path = row["path"].encode(errors="backslashreplace").decode()
            given = (_number(row[name]) for name in POSITION)
            found = (corpus, path, *given, "scan", str(error))
            rejected.append(dict(zip(REJECTED_TYPES, found, strict=True)))
    return list(accepted.values()), rejected


def _probe_one(path: str) -> _Probed:
    if not path:
        return "the table gives no path"
    try:
        path.encode()
        info = probe(path)
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16))
        return info, digest.hexdigest()
    except UnicodeEncodeError:
        return "the file's name is not valid Unicode: rename it"
    except UnreadableAudio as error:
        return str(error)
    except (OSError, ValueError) as error:  # a name with a NUL, a file gone meanwhile
        return f"unreadable: {error}"


def _clip(
    row: Mapping[str, Any], probed: _Probed, corpus: str, seconds: tuple[float, float]
) -> dict[str, Any]:
    """Return the manifest row of one listed clip, or raise why there is none."""
    if isinstance(probed, str):
        raise UnreadableAudio(probed)
    info, digest = probed
    offset, frames = _position(row, info)
    duration = frames / info.sample_rate
    if duration < seconds[0]:
        raise UnreadableAudio(f"{duration:.6g} s is shorter than min_seconds={seconds[0]}")
    if duration > seconds[1]:
        raise UnreadableAudio(f"{duration:.6g} s is longer than max_seconds={seconds[1]}")
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
        "fold": _whole(row, "fold", None),
        "group": row["group"] or None,
        "digest": digest,
    }


def _parts(
    row: Mapping[str, Any], probed: Mapping[str, _Probed], window: float | None
) -> list[Mapping[str, Any]]:
    """Return a row, or the windows of a long recording that has no label."""
    found = probed[row["path"]]
    if window is None or row["label"] or isinstance(found, str):
        return [row]
    info, size = found[0], round(window * found[0].sample_rate)
    try:
        offset, frames = _position(row, info)
    except UnreadableAudio:
        return [row]  # rejected with the reason
    if frames <= 3 * size:
        return [row]
    edges = [*range(offset, offset + frames - size // 2, size), offset + frames]
    return [
        {**row, "start": "", "end": "", "offset": str(first), "frames": str(last - first)}
        for first, last in itertools.pairwise(edges)
    ]


def _position(row: Mapping[str, Any], info: AudioInfo) -> tuple[int, int]:
    """Return offset and frames of a row in the file's own samples, or raise why there are none."""
    if row["start"] or row["end"]:
        if row["offset"] or row["frames"]:
            raise UnreadableAudio("start and end (seconds) beside offset and frames (samples)")
        length = info.frames / info.sample_rate
        first, last = _seconds(row, "start", 0.0), _seconds(row, "end", length)
        if last > length + _ROUNDED:
            raise UnreadableAudio(f"end {last:g} s is beyond the file's {length:g} s")
        if first >= last:
            raise UnreadableAudio(f"start {first:g} s is not before end {last:g} s")
        offset = round(first * info.sample_rate)
        return offset, min(round(last * info.sample_rate), info.frames) - offset
    offset = _whole(row, "offset", 0)
    frames = _whole(row, "frames", info.frames - offset)
    if frames < 1 or offset + frames > info.frames:
        raise UnreadableAudio(
            f"frames {offset} to {offset + frames} are not within the file's {info.frames}"
        )
    return offset, frames


def _seconds(row: Mapping[str, Any], name: str, default: float) -> float:
    text = row[name].replace(",", ".")
    if not text:
        return default
    if not re.fullmatch(r"[0-9]*\.?[0-9]+([eE][-+]?[0-9]+)?|[0-9]+\.", text):
        other = f"columns={{'{name}': null}} if the column means something else"
        raise UnreadableAudio(f"{name} {row[name]!r} is no number of seconds: {other}")
    return float(text)


def _whole(row: Mapping[str, Any], name: str, default: Any) -> Any:
    number = _number(row[name])
    if row[name] and number is None:
        raise UnreadableAudio(f"{name} {row[name]!r} is not a whole number from 0 to 10^18")
    return default if number is None else number


def _number(text: str) -> int | None:
    """Return a whole number, which pandas writes as 1.0 where others are missing, or None."""
    found = re.fullmatch(r"([0-9]{1,18})(\.0*)?", text)
    return int(found[1]) if found else None
