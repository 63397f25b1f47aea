"""Whatever a caller has, a path or samples of any rate, as log-mels of an encoder's front-end."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soxr
from torch import Tensor

from ..core.errors import UserError
from ..data.extraction import finite_blocks
from ..data.log_mel import FrontEnd
from ..data.reading import UnreadableAudio, read_mono_blocks
from ..data.store import LogMelStore
from .read_out import Floats

Audio = str | os.PathLike[str] | np.ndarray | Tensor
"""A path, or samples (N,) or (channels, N); a list stands for several clips."""


def audio_store(
    clips: Sequence[Audio], front_end: FrontEnd, sample_rate: int | None = None
) -> LogMelStore:
    """Return the log-mels of clips, made mono and resampled as a corpus's are, in memory.

    Samples need their rate in Hz; a file knows its own.

    Raises:
        UnreadableAudio: A file cannot be used, or samples are not finite or overflow.
        UserError: Samples without a rate, of another shape, or none.
    """
    blocks = (_log_mel_blocks(clip, front_end, sample_rate) for clip in clips)
    return LogMelStore.in_memory(front_end, blocks)


def _log_mel_blocks(audio: Audio, front_end: FrontEnd, sample_rate: int | None) -> Iterator[Floats]:
    wanted = front_end.sample_rate
    if isinstance(audio, str | os.PathLike):
        waveform: Iterable[Floats] = read_mono_blocks(Path(audio), sample_rate=wanted)
    else:
        rate, mono = checked_rate(sample_rate), mono_samples(audio)
        if rate != wanted:
            n, mono = mono.size, soxr.resample(mono, rate, wanted, quality="HQ")
            if not mono.size:
                raise UnreadableAudio(f"zero length: {n} samples are no sample at {wanted} Hz")
        waveform = [mono]
    yield from finite_blocks(waveform, front_end)


def checked_rate(sample_rate: int | None) -> int:
    """Return the rate of samples in Hz, which must be given and at least 1."""
    if sample_rate is None:
        raise UserError("samples need their rate: give sample_rate=<Hz>; only a file knows its own")
    if sample_rate < 1:
        raise UserError(f"sample_rate={sample_rate} must be at least 1 Hz")
    return sample_rate


def mono_samples(audio: Any) -> Floats:
    """Return samples, (N,) or (channels, N) with full scale at 1, as one channel, (N,) float32.

    Raises:
        UnreadableAudio: NaN or infinite samples.
        UserError: Another shape, no samples, or integers.

    >>> mono_samples([[0.5, 1.0], [0.0, 0.0]])
    array([0.25, 0.5 ], dtype=float32)
    """
    if hasattr(audio, "detach"):  # a tensor, wherever it is
        audio = audio.detach().cpu().float().numpy()
    samples = np.asarray(audio)
    if samples.dtype.kind != "f":
        raise UserError(
            f"samples of type {samples.dtype} have no known full scale: convert them to floating "
            "point between -1 and 1 (16-bit integers: samples / 32768)"
        )
    if samples.ndim == 2 and samples.shape[0] <= samples.shape[1]:
        samples = samples.mean(axis=0)
    if samples.ndim != 1 or not samples.size:
        raise UserError(
            f"samples of shape {np.shape(audio)} must be (N,) or (channels, N) with N >= 1: "
            "transpose (N, channels); give several clips as a list"
        )
    if not np.isfinite(samples).all():
        raise UnreadableAudio("not finite: NaN or infinite samples")
    return np.ascontiguousarray(samples, dtype=np.float32)
