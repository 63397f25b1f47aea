"""Log-mels of a whole manifest, in parallel shards that survive an interruption."""

from __future__ import annotations

import errno
import json
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import joblib
import numpy as np
import pandas as pd
import torch
from threadpoolctl import threadpool_limits

from ..core.errors import UserError
from ..core.outputs import mark_of, shown, write_json
from ..core.progress import progress
from .backends import STREAMING, joblib_backend
from .log_mel import FrontEnd
from .manifest import rejected_table
from .overlap import AUDIO_KEY
from .reading import UnreadableAudio, read_mono_blocks
from .shards import (
    FORMAT_VERSION,
    INDEX_FILE,
    ShardWriter,
    StoreError,
    finish_store,
    npy_header,
    shard_file,
)
from .table import ManifestError

log = logging.getLogger(__name__)
_SHARD_SECONDS = 1800.0  # of audio; bounds what an interruption costs when recordings are long
_WORTH_PROCESSES = 3600.0  # of audio; less is done before worker processes have imported torch
_CLIP_COLUMNS = ("clip_id", "corpus", "path", "offset", "frames", "digest")


class _Shard(NamedTuple):
    """One shard's work: its number, its clips, a fingerprint of them and the front-end, seconds."""

    number: int
    clips: list[dict[str, Any]]
    mark: str
    seconds: float


def extract_log_mels(
    manifest: pd.DataFrame,
    folder: str | Path,
    front_end: FrontEnd,
    *,
    clips_per_shard: int = 512,
    n_jobs: int = -1,
    backend: str = "loky",
) -> pd.DataFrame:
    """Build the log-mel store of a manifest; called again, go on at the first unfinished shard.

    The files do not depend on ``n_jobs`` nor on interruptions. Digital silence is kept.

    Args:
        manifest: As :func:`unfused.data.manifest.scan_audio` returns it.
        folder: Where the store goes; made if it is not there.
        front_end: The log-mel settings.
        clips_per_shard: Most clips in one shard; half an hour of audio closes a shard, too.
        n_jobs: Worker processes, one thread each; -1 takes one per core. Less than an hour of audio
            takes none.
        backend: joblib's backend: "loky", "threading", "dask" or "ray"; see
            :func:`~unfused.data.backends.joblib_backend`.

    Returns:
        Clips that could not be decoded, as the rejected clips of ``scan_audio``, stage "decode".

    Raises:
        ManifestError: The manifest is empty, or no clip of it could be decoded.
        OSError: The folder cannot be written, or the disk is full.
        StoreError: Another process writes to the folder, or a worker process was killed.
        ValueError: ``clips_per_shard`` is less than 1, or the backend is not installed.
    """
    folder = Path(folder).absolute()  # workers may have another working directory
    if manifest.empty:
        raise ManifestError("the manifest lists no clips: there is nothing to extract")
    shards = _plan(manifest, front_end, clips_per_shard)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        todo = _prepare(folder, shards, front_end)
        _run(folder, todo, front_end, n_jobs, backend)
        rows, rejected = _finish(folder, shards, front_end)
    except BrokenExecutor as error:
        raise StoreError(
            "a worker process was killed, mostly for want of memory: set extraction.n_jobs lower "
            "and run again; finished shards stay"
        ) from error
    except OSError as error:
        raise _explained(error, folder) from error
    if todo:
        _report(folder, rows, front_end)
    _warn_rejected(folder, rejected)
    return rejected_table(rejected)


def _plan(manifest: pd.DataFrame, front_end: FrontEnd, clips_per_shard: int) -> list[_Shard]:
    if clips_per_shard < 1:
        raise UserError(f"clips_per_shard={clips_per_shard} must be at least 1")
    groups: list[list[dict[str, Any]]] = [[]]
    seconds = [0.0]
    records = manifest[list(_CLIP_COLUMNS)].to_dict("records")
    for clip, duration in zip(records, manifest["duration"], strict=True):
        if len(groups[-1]) == clips_per_shard or (groups[-1] and seconds[-1] >= _SHARD_SECONDS):
            groups.append([])
            seconds.append(0.0)
        groups[-1].append(clip)
        seconds[-1] += duration
    return [
        _Shard(number, clips, _mark(clips, front_end), length)
        for number, (clips, length) in enumerate(zip(groups, seconds, strict=True))
    ]


def _mark(clips: Sequence[Mapping[str, Any]], front_end: FrontEnd) -> str:
    """Fingerprint of what a shard is made from; files may move, their content may not change."""
    content = [[clip[key] for key in AUDIO_KEY] for clip in clips]
    return mark_of(format=FORMAT_VERSION, content=content, front_end=front_end)


def _prepare(folder: Path, shards: Sequence[_Shard], front_end: FrontEnd) -> list[_Shard]:
    """Remove what is of no use and return the shards that are not finished."""
    todo = [shard for shard in shards if _read_part(folder, shard, front_end) is None]
    keep = {
        path(folder, shard.number).name for shard in shards for path in (shard_file, _part_file)
    }
    surplus = [path for path in folder.glob("shard-*") if path.name not in keep]
    if todo or surplus:
        (folder / INDEX_FILE).unlink(missing_ok=True)  # from here on the store is unfinished
    for path in surplus:
        path.unlink()
    if not todo:
        log.info("reused %s", shown(folder), extra={"outcome": "reused"})
    elif len(todo) < len(shards):
        done, of = len(shards) - len(todo), len(shards)
        log.info(
            "resuming %s: %d of %d shards are there", shown(folder), done, of,
            extra={"outcome": "resumed"},
        )  # fmt: skip
    return todo


def _run(
    folder: Path, todo: Sequence[_Shard], front_end: FrontEnd, n_jobs: int, backend: str
) -> None:
    if not todo:
        return
    if backend == "loky":
        little = sum(shard.seconds for shard in todo) < _WORTH_PROCESSES
        n_jobs = 1 if little else min(joblib.effective_n_jobs(n_jobs), len(todo))
    tasks = (joblib.delayed(_extract_shard)(folder, shard, front_end) for shard in todo)
    results = "generator_unordered" if backend in STREAMING else "list"
    total = sum(len(shard.clips) for shard in todo)
    with (
        joblib_backend(backend, n_jobs),
        progress(total=total, desc="log-mels", unit="clip") as bar,
        warnings.catch_warnings(),
    ):
        # loky ends workers that idled for long or grew, and starts others: nothing is lost
        warnings.filterwarnings("ignore", "A worker stopped while some jobs", UserWarning)
        pool = joblib.Parallel(return_as=results, batch_size=1)
        for n_clips in pool(tasks):
            bar.update(n_clips)


def _extract_shard(folder: Path, shard: _Shard, front_end: FrontEnd) -> int:
    """Write one shard and, after it, the part that declares it whole; return its clip count."""
    part = _part_file(folder, shard.number)
    clips: list[list[Any]] = []
    rejected: list[dict[str, Any]] = []
    part.unlink(missing_ok=True)
    with (
        _one_thread(),
        ShardWriter(shard_file(folder, shard.number), front_end.n_mels) as writer,
    ):
        for clip in shard.clips:
            try:
                stored = writer.append(_log_mel_blocks(clip, front_end))
                clips.append([clip["clip_id"], clip["digest"], *stored])
            except UnreadableAudio as error:
                rejected.append(_rejected(clip, str(error)))
    write_json(part, {"mark": shard.mark, "clips": clips, "rejected": rejected})
    return len(shard.clips)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keep torch and NumPy to one thread: what they multiply is too small for more."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1, user_api="blas"):
            yield
    finally:
        torch.set_num_threads(n_threads)


def _log_mel_blocks(clip: Mapping[str, Any], front_end: FrontEnd) -> Iterator[np.ndarray]:
    waveform = read_mono_blocks(
        clip["path"],
        offset=clip["offset"],
        frames=clip["frames"],
        sample_rate=front_end.sample_rate,
    )
    for block in front_end.log_mel_blocks(waveform):
        if not np.isfinite(block).all():
            raise UnreadableAudio("not finite: samples so large that their power overflows")
        yield block


def _finish(
    folder: Path, shards: Sequence[_Shard], front_end: FrontEnd
) -> tuple[list[tuple[Any, ...]], list[dict[str, Any]]]:
    """Write the index, unless it is there; return its rows and the rejected clips."""
    parts = [_finished_part(folder, shard, front_end) for shard in shards]
    rejected = [row for part in parts for row in part["rejected"]]
    rows = [
        (clip_id, digest, shard.number, *place)
        for shard, part in zip(shards, parts, strict=True)
        for clip_id, digest, *place in part["clips"]
    ]
    if not rows:
        reasons = "; ".join(f"{row['path']}: {row['reason']}" for row in rejected[:3])
        raise ManifestError(f"none of {len(rejected)} clips could be decoded: {reasons}")
    if not (folder / INDEX_FILE).is_file():
        finish_store(folder, front_end, rows)
    return rows, rejected


def _report(folder: Path, rows: Sequence[tuple[Any, ...]], front_end: FrontEnd) -> None:
    floor = (front_end.pad_value + 1e-4) * front_end.n_mels  # of one frame's sum
    silent = sum(total <= floor * n_frames for *_, n_frames, total, _total_sq in rows)
    hours = sum(row[4] for row in rows) * front_end.hop / front_end.sample_rate / 3600
    kept = f", {silent} of them digital silence (kept)" if silent else ""
    log.info("log-mels of %d clips, %.2f h%s, in %s", len(rows), hours, kept, shown(folder))


def _warn_rejected(folder: Path, rejected: Sequence[Mapping[str, Any]]) -> None:
    if rejected:
        log.warning(
            "%s: %d clips could not be decoded, e.g. %s: %s",
            shown(folder),
            len(rejected),
            rejected[0]["path"],
            rejected[0]["reason"],
        )


def _part_file(folder: Path, number: int) -> Path:
    return folder / f"shard-{number:05d}.json"


def _read_part(folder: Path, shard: _Shard, front_end: FrontEnd) -> dict[str, Any] | None:
    """Return what stands beside a finished shard; None if it is unfinished or of something else."""
    try:
        part: dict[str, Any] = json.loads(_part_file(folder, shard.number).read_text("utf-8"))
        size = shard_file(folder, shard.number).stat().st_size
    except (FileNotFoundError, ValueError):
        return None
    n_frames = sum(clip[3] for clip in part["clips"])
    whole = len(npy_header(n_frames, front_end.n_mels)) + 2 * n_frames * front_end.n_mels
    return part if part["mark"] == shard.mark and size == whole else None


def _finished_part(folder: Path, shard: _Shard, front_end: FrontEnd) -> dict[str, Any]:
    part = _read_part(folder, shard, front_end)
    if part is None:
        raise StoreError(
            f"{shard_file(folder, shard.number)} was changed by another process meanwhile: let it "
            "end, then run the extraction again"
        )
    return part


def _rejected(clip: Mapping[str, Any], reason: str) -> dict[str, Any]:
    known = {key: clip[key] for key in ("corpus", "path", "offset", "frames")}
    return {**known, "stage": "decode", "reason": reason}


def _explained(error: OSError, folder: Path) -> OSError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        text = f"the disk is full: free some space for {folder} and run again; finished shards stay"
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST):
        text = f"cannot write the log-mel store to {folder} ({error}): choose a writable folder"
    else:
        text = f"writing the log-mel store to {folder} failed: {error}"
    return OSError(error.errno, text)
