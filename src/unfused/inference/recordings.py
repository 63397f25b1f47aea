"""New recordings of any kind and length, read block by block and cut into segments."""

import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import soundfile

from ..core.errors import UserError
from ..core.progress import progress
from ..data.extraction import log_mel_blocks
from ..data.log_mel import FrontEnd
from ..data.manifest import scan_audio
from ..data.reading import UnreadableAudio, probe
from ..data.store import LogMelStore
from ..data.table import TABLE_SUFFIXES
from ..embeddings.audio_input import Audio, checked_rate, mono_samples
from ..embeddings.read_out import Floats
from ..tasks.corpus import Corpus

log = logging.getLogger(__name__)
PLACE = ["path", "start_seconds", "end_seconds"]
HELD_FRAMES = 60_000  # of the segments that are held at once: ten minutes, 8 MB
_Segment = tuple[int, int, Floats]  # number of the recording, first frame, frames


class Recordings(NamedTuple):
    """Audio to be heard, and what cannot be used, columns path and reason."""

    table: pd.DataFrame  # columns path, offset, frames, sample_rate, and shown, the path for people
    several: bool = True  # whether there may be more than one
    named: bool = False  # whether they were named one by one, so that none may be left out
    rejected: pd.DataFrame = pd.DataFrame({"path": [], "reason": []}, dtype=str)


@contextmanager
def recordings_of(audio: Any, sample_rate: int | None = None) -> Iterator[Recordings]:
    """Give audio of any kind as recordings.

    That is a path, samples with their rate in Hz, or a list of either; a folder, or a table with
    the column ``path``; or such a table in memory with offset, frames and sample_rate. Samples are
    written to files for the time being, so that every embedder can hear them.

    Raises:
        UnreadableAudio: A file that is named cannot be used.
        UserError: Samples without their rate or of a wrong shape, an empty list or folder.
    """
    path = Path(audio) if isinstance(audio, str | os.PathLike) else None
    if isinstance(audio, pd.DataFrame):
        yield Recordings(audio.assign(shown=audio["path"]))
    elif path is not None and (path.is_dir() or path.suffix.lower() in TABLE_SUFFIXES):
        found, rejected = scan_audio(path, corpus="new audio", labels="none", max_seconds=np.inf)
        yield Recordings(found.assign(shown=found["path"]), rejected=rejected[["path", "reason"]])
    elif not isinstance(audio, list):
        with recordings_of([audio], sample_rate) as recordings:
            yield recordings._replace(several=False)
    elif audio:
        with TemporaryDirectory() as folder:
            files = [Path(folder) / f"{i}.wav" for i in range(len(audio))]
            rows = [_recording(*both, sample_rate) for both in zip(audio, files, strict=True)]
            yield Recordings(pd.DataFrame(rows), named=True)
    else:
        raise UserError("an empty list has no audio: give one clip or more")


def _recording(clip: Audio, file: Path, sample_rate: int | None) -> dict[str, Any]:
    shown = ""
    if isinstance(clip, str | os.PathLike):
        shown, file = os.fspath(clip), Path(clip)
    else:
        soundfile.write(file, mono_samples(clip), checked_rate(sample_rate), subtype="FLOAT")
    try:
        info = probe(file)
    except UnreadableAudio as error:
        raise UnreadableAudio(f"{file}: {error}") from error
    return {"path": os.fspath(file), "offset": 0, "frames": info.frames,
            "sample_rate": info.sample_rate, "shown": shown}  # fmt: skip


def cut(blocks: Iterable[Floats], length: int, hop: int) -> Iterator[tuple[int, Floats]]:
    """Cut a log-mel that arrives in blocks, (T_i, F), and yield segments and their first frames.

    A segment has ``length`` frames, and the next begins ``hop`` frames later; a rest of at most a
    tenth of a segment belongs to the last one. There must be a frame.

    >>> [(first, len(part)) for first, part in cut([np.zeros((150, 1))] * 2, 100, 100)]
    [(0, 100), (100, 100), (200, 100)]
    >>> [(first, len(part)) for first, part in cut([np.zeros((205, 1))], 100, 100)]
    [(0, 100), (100, 105)]
    """
    first, held, slack = 0, None, length // 10
    for block in blocks:
        held = block if held is None else np.concatenate([held, block])
        while len(held) >= max(length + hop, length + slack + 1):
            yield first, held[:length]
            first, held = first + hop, held[hop:]
    assert held is not None
    if len(held) > length + slack:
        yield first, held[:length]
        first, held = first + len(held) - length, held[-length:]
    yield first, held


def segments_of(
    recordings: pd.DataFrame,
    front_end: FrontEnd,
    seconds: float,
    hop_seconds: float,
    rejected: dict[int, str] | None = None,
) -> Iterator[Corpus]:
    """Read recordings and yield their segments, some minutes at once.

    Recordings have columns path, offset, frames and sample_rate. A segment has so many seconds, and
    the next begins ``hop_seconds`` later. A recording longer by less than a tenth stays whole; the
    last segment ends with the recording. ``rejected`` receives numbers of recordings that turn out
    to be damaged, some of whose segments may have been yielded, and the reasons.

    Yields:
        Segments whose ``clips`` say where they lie, by recording (its number), path, start_seconds
        and end_seconds, and how loud, by level (mean power over time and mel bands).

    Raises:
        UnreadableAudio: One is damaged and ``rejected`` is None.
        UserError: A length is not positive, or the hop leaves gaps between segments.
    """
    if not 0 < hop_seconds <= seconds:
        raise UserError(
            f"segment_seconds={seconds} and hop_seconds={hop_seconds} must be above 0, and the hop "
            "no longer than a segment: audio in between would not be heard"
        )
    length = front_end.frames(seconds)
    hop = max(1, round(hop_seconds * front_end.sample_rate / front_end.hop))
    held, n_held = list[_Segment](), 0
    total = (recordings["frames"] / recordings["sample_rate"]).sum()
    places = recordings[["path", "offset", "frames"]].to_dict("records")
    with progress(total=round(total), desc="listening", unit="s") as bar:
        for number, place in enumerate(places):
            try:
                for first, frames in cut(log_mel_blocks(place, front_end), length, hop):
                    held.append((number, first, frames))
                    n_held += len(frames)
                    bar.update(hop_seconds)
                    if n_held >= HELD_FRAMES:
                        yield _gathered(held, recordings, front_end)
                        held, n_held = [], 0
            except UnreadableAudio as error:
                if rejected is None:
                    raise UnreadableAudio(f"{place['path']}: {error}") from error
                log.warning("%s is left out: %s", place["path"], error)
                rejected[number] = str(error)
    if held:
        yield _gathered(held, recordings, front_end)


def _gathered(held: list[_Segment], recordings: pd.DataFrame, front_end: FrontEnd) -> Corpus:
    numbers, firsts, parts = zip(*held, strict=True)
    store = LogMelStore.in_memory(front_end, [[part] for part in parts])
    whole = recordings.iloc[list(numbers)].reset_index(drop=True)
    rate, seconds = whole["sample_rate"], front_end.hop / front_end.sample_rate
    begin = np.array(firsts) * seconds
    end = begin + np.array([len(part) - 1 for part in parts]) * seconds
    first, last = ((moment * rate).round().astype(int) for moment in (begin, end))
    last = last.where(last + seconds * rate < whole["frames"], whole["frames"])  # up to the end
    clips = whole[["path"]].assign(
        clip_id=store.clip_ids,
        corpus="new audio",
        recording=numbers,
        offset=whole["offset"] + first,
        frames=(last - first).clip(lower=1),
        start_seconds=(whole["offset"] / rate + begin).round(3),
        end_seconds=(whole["offset"] / rate + end).round(3),
        level=[float(np.exp(part).mean()) - front_end.eps for part in parts],
    )
    return Corpus.of(store, clips)
