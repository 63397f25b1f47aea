"""Log-mels of a whole manifest, in parallel shards that survive an interruption."""

import errno
import logging
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor
from pathlib import Path
from typing import Any, NamedTuple

import joblib
import numpy as np
import pandas as pd
from joblib.parallel import get_active_backend
from threadpoolctl import threadpool_limits

from ..core.errors import UserError
from ..core.outputs import damage, file_facts, mark_of, read_sealed, shown, write_sealed
from ..core.progress import progress
from ..core.source import source_digest
from .log_mel import FrontEnd
from .manifest import AUDIO_KEY, rejected_table
from .reading import UnreadableAudio, read_mono_blocks, start_over
from .shards import STORE_FILE, Clip, StoreError, check_store, finish_store, shard_file, write_shard
from .table import ManifestError

log = logging.getLogger(__name__)
_SHARD_SECONDS = 1800.0  # of audio; bounds what an interruption costs when recordings are long
_WORTH_PROCESSES = 3600.0  # of audio; less is done before worker processes have imported torch
MADE_BY = ("data.extraction", "data.ffmpeg", "data.log_mel", "data.reading", "data.shards")
"""Modules that decide log-mels."""


class _Shard(NamedTuple):
    path: Path  # of its frames
    clips: list[dict[str, Any]]
    mark: str  # a hash of what it is made from

    @property
    def part(self) -> Path:
        """The file that declares it whole: mark, size and digest, clips, rejected clips."""
        return self.path.with_suffix(".json")

    def finished(self) -> dict[str, Any] | None:
        """Return what :attr:`part` says; None if the shard is unfinished, damaged or another."""
        return None if damage(self.part, self.mark) else read_sealed(self.part)


def extract_log_mels(
    manifest: pd.DataFrame,
    folder: str | Path,
    front_end: FrontEnd,
    *,
    clips_per_shard: int = 512,
    n_jobs: int = -1,
) -> pd.DataFrame:
    """Build the log-mel store of a manifest; called again, make only what is missing or damaged.

    The files do not depend on ``n_jobs`` nor on interruptions. Digital silence is kept. Another
    backend than processes of this machine is chosen as joblib does, by ``joblib.parallel_config``.
    A worker has one thread (-1 of ``n_jobs`` takes one per core, less than an hour of audio none)
    and holds the log-mels of one shard: 23 MB for half an hour of audio, which closes a shard, as
    ``clips_per_shard`` do. The manifest is one of :func:`unfused.data.manifest.scan_audio`; clips
    that cannot be decoded are returned as its rejected clips are, stage "decode".

    Raises:
        ManifestError: The manifest is empty, or no clip of it could be decoded.
        OSError: The folder cannot be written, or the disk is full.
        StoreError: Another process writes to the folder, or a worker process was killed.
        UserError: ``clips_per_shard`` is less than 1, or a file of the manifest is gone.
    """
    folder = Path(folder).absolute()  # workers may have another working directory
    if manifest.empty:
        raise ManifestError("the manifest lists no clips: there is nothing to extract")
    shards = _plan(manifest, folder, front_end, clips_per_shard)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        todo = _prepare(folder, shards)
        _run(todo, front_end, n_jobs)
        rows, rejected = _finish(folder, shards, front_end)
    except BrokenExecutor as error:
        raise StoreError(
            f"a worker process was killed, mostly for want of memory: give a lower n_jobs than "
            f"{n_jobs} and run again; finished shards stay",
            remedy="n_jobs",
        ) from error
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        remedy = "the disk is full: free some space" if full else "choose a writable folder"
        text = f"cannot write the log-mel store to {folder} ({error}); {remedy} and run again"
        raise OSError(error.errno, f"{text}; finished shards stay") from error
    if todo:
        floor = (front_end.pad_value + 1e-4) * front_end.n_mels  # of one frame's sum
        silent = sum(total <= floor * n_frames for *_, n_frames, total, _total_sq in rows)
        hours = sum(row[4] for row in rows) * front_end.hop / front_end.sample_rate / 3600
        kept = f", {silent} of them digital silence (kept)" if silent else ""
        log.info("log-mels of %d clips, %.2f h%s, in %s", len(rows), hours, kept, shown(folder))
    if rejected:
        text = "%s: %d clips could not be decoded, e.g. %s"
        log.warning(text, shown(folder), len(rejected), _reasons(rejected[:1]))
    return rejected_table(rejected)


def _plan(
    manifest: pd.DataFrame, folder: Path, front_end: FrontEnd, clips_per_shard: int
) -> list[_Shard]:
    if clips_per_shard < 1:
        raise UserError(f"clips_per_shard={clips_per_shard} must be at least 1")
    groups, seconds = list[list[dict[str, Any]]]([[]]), 0.0
    for clip in manifest[["corpus", "path", *AUDIO_KEY, "duration"]].to_dict("records"):
        if len(groups[-1]) == clips_per_shard or seconds >= _SHARD_SECONDS:
            groups, seconds = [*groups, []], 0.0
        groups[-1].append(clip)
        seconds += clip["duration"]
    shards, made_by = [], {"front_end": front_end, "source": source_digest(*MADE_BY)}
    for number, clips in enumerate(groups):
        heard = [[clip[key] for key in AUDIO_KEY] for clip in clips]
        shards.append(_Shard(shard_file(folder, number), clips, mark_of(clips=heard, **made_by)))
    return shards


def _prepare(folder: Path, shards: Sequence[_Shard]) -> list[_Shard]:
    """Remove what is of no use and return the shards that are not finished."""
    todo = [shard for shard in shards if shard.finished() is None]
    keep = {path for shard in shards for path in (shard.path, shard.part)}
    surplus = [path for path in folder.glob("shard-*") if path not in keep]
    if todo or surplus:
        (folder / STORE_FILE).unlink(missing_ok=True)  # from here on the store is unfinished
    for path in surplus:
        path.unlink()
    if not todo:
        log.info("reused %s", shown(folder))
    elif done := len(shards) - len(todo):
        log.info("resuming %s: %d of %d shards are there", shown(folder), done, len(shards))
    return todo


def _run(todo: Sequence[_Shard], front_end: FrontEnd, n_jobs: int) -> None:
    if not todo:
        return
    clips = [clip for shard in todo for clip in shard.clips]
    little = sum(clip["duration"] for clip in clips) < _WORTH_PROCESSES
    workers = 1 if little else min(joblib.effective_n_jobs(n_jobs), len(todo))
    streams = get_active_backend()[0].supports_return_generator
    how = "generator_unordered" if streams else "list"
    # no memory is shared, so no folder for it is made, which a killed run would leave behind
    nowhere: dict[str, Any] = {"max_nbytes": None, "temp_folder": str(todo[0].path.parent)}
    pool = joblib.Parallel(workers, return_as=how, batch_size=1, **nowhere)
    bar = progress(total=len(clips), desc="log-mels", unit="clip")
    with bar, warnings.catch_warnings(), threadpool_limits(1):
        # loky ends workers that idled for long or grew, and starts others: nothing is lost
        warnings.filterwarnings("ignore", "A worker stopped while some jobs", UserWarning)
        for n_clips in pool(joblib.delayed(_extract_shard)(shard, front_end) for shard in todo):
            bar.update(n_clips)


def _extract_shard(shard: _Shard, front_end: FrontEnd) -> int:
    """Write one shard and, after it, the part that declares it whole; return its clip count."""
    decoded, names, rejected = [], [], []
    shard.part.unlink(missing_ok=True)
    start_over()
    with threadpool_limits(1):  # what is multiplied is too small for more
        for clip in shard.clips:
            try:
                decoded.append(Clip.of(log_mel_blocks(clip, front_end)))
                names.append([clip["clip_id"], clip["digest"]])
            except UnreadableAudio as error:
                if not os.path.exists(clip["path"]):  # what is rejected is not tried again
                    raise UserError(
                        f"{clip['path']} was there when audio was listed and is gone now, perhaps "
                        "with its drive: run again, and finished shards are reused"
                    ) from error
                known = {key: clip[key] for key in ("corpus", "path", "offset", "frames")}
                rejected.append({**known, "stage": "decode", "reason": str(error)})
    places = write_shard(shard.path, decoded, front_end.n_mels)
    clips = [[*name, *place] for name, place in zip(names, places, strict=True)]
    facts = {"mark": shard.mark, "files": {shard.path.name: file_facts(shard.path)}}
    write_sealed(shard.part, {**facts, "clips": clips, "rejected": rejected})
    return len(shard.clips)


def log_mel_blocks(clip: Mapping[str, Any], front_end: FrontEnd) -> Iterator[np.ndarray]:
    """Yield the frames, (T_i, F) float32, of what lies in a file: path, offset and frames.

    Raises:
        UnreadableAudio: As :func:`unfused.data.reading.read_mono`, or its power overflows.
    """
    part = {"offset": clip["offset"], "frames": clip["frames"]}
    waveform = read_mono_blocks(clip["path"], **part, sample_rate=front_end.sample_rate)
    yield from finite_blocks(waveform, front_end)


def finite_blocks(waveform: Iterable[np.ndarray], front_end: FrontEnd) -> Iterator[np.ndarray]:
    """Yield the frames, (T_i, F) float32, of a waveform that comes in blocks.

    Raises:
        UnreadableAudio: Its power overflows.
    """
    for block in front_end.log_mel_blocks(waveform):
        if not np.isfinite(block).all():
            raise UnreadableAudio("not finite: samples so large that their power overflows")
        yield block


def _finish(
    folder: Path, shards: Sequence[_Shard], front_end: FrontEnd
) -> tuple[list[tuple[Any, ...]], list[dict[str, Any]]]:
    """Write the index, unless it is there; return its rows and the rejected clips."""
    rows, rejected, files = [], [], dict[str, Any]()
    for number, shard in enumerate(shards):
        part = shard.finished()
        if part is None:
            raise StoreError(f"another process changed {shard.path}: let it end and run again")
        rows += [(clip_id, digest, number, *place) for clip_id, digest, *place in part["clips"]]
        rejected += part["rejected"]
        files |= part["files"]
    if not rows:
        raise ManifestError(
            f"none of {len(rejected)} clips could be decoded: {_reasons(rejected[:3])}"
        )
    try:
        check_store(folder)
    except StoreError:
        finish_store(folder, front_end, rows, files)
    return rows, rejected


def _reasons(rejected: Sequence[Mapping[str, Any]]) -> str:
    return "; ".join(f"{row['path']}: {row['reason']}" for row in rejected)
