"""Decoding: any audio file libsndfile knows, in; finite mono float32 at one sample rate, out."""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile as sf
import soxr

from ..core.errors import UserError

fast_flac: Callable[[bytes], np.ndarray] | None
try:  # half of libsndfile's time, the same samples; not for every machine there is a wheel
    import miniaudio
except ImportError:
    fast_flac = None
else:

    def fast_flac(data: bytes) -> np.ndarray:
        """Decode a whole FLAC file, (frames, channels) float32."""
        decoded = miniaudio.flac_read_f32(data)
        return np.frombuffer(decoded.samples, np.float32).reshape(-1, decoded.nchannels)


BLOCK_SAMPLES = 2**22  # decoded at once over all channels: 95 s of mono at 44.1 kHz
_UNKNOWN_SIZE = 0x7FFFF000  # recorders that stream to a pipe write a data size at least this large


class UnreadableAudio(UserError):  # noqa: N818  the state of the file, not of the program
    """An audio file cannot be used; the message says why."""


@dataclass(frozen=True)
class AudioInfo:
    """What a file's header says.

    Attributes:
        frames: Length in samples per channel.
        sample_rate: Samples per second.
        channels: Number of channels.
        container: libsndfile's name of the file format, e.g. "FLAC".
    """

    frames: int
    sample_rate: int
    channels: int
    container: str = ""

    @property
    def seconds(self) -> float:
        """Duration in seconds."""
        return self.frames / self.sample_rate


def probe(path: str | Path) -> AudioInfo:
    """Read a file's header; its extension does not matter.

    Raises:
        UnreadableAudio: Not found, empty, no audio format, cut off, no channels or no frames.
    """
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise UnreadableAudio("not a file")
        if status.st_size == 0:
            raise UnreadableAudio("empty file: 0 bytes")
        header = sf.info(str(path))
        _check_complete(path, status.st_size, header.format)
    except (FileNotFoundError, NotADirectoryError):
        raise UnreadableAudio("file not found") from None
    except (sf.SoundFileError, OSError) as error:
        raise UnreadableAudio(f"unreadable: {_why(error)}") from error
    if header.channels < 1 or header.samplerate < 1:
        raise UnreadableAudio(f"{header.channels} channels at {header.samplerate} Hz: no audio")
    if header.frames < 1:
        raise UnreadableAudio("zero length: the header says 0 frames (empty or truncated)")
    return AudioInfo(header.frames, header.samplerate, header.channels, header.format)


def read_mono(
    path: str | Path, *, offset: int = 0, frames: int | None = None, sample_rate: int = 16000
) -> np.ndarray:
    """Decode a file or a part of it, average its channels and resample (soxr, HQ).

    Args:
        path: The audio file.
        offset: First frame, at the file's own rate.
        frames: Number of frames at the file's own rate; None reads to the end.
        sample_rate: Rate of the result in Hz.

    Returns:
        Mono samples, (N,) float32, N >= 1.

    Raises:
        UnreadableAudio: As :func:`probe`; or truncated, damaged, NaN or infinite samples, or a part
            that reaches beyond the end of the file.
    """
    blocks = list(read_mono_blocks(path, offset=offset, frames=frames, sample_rate=sample_rate))
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)


def read_mono_blocks(
    path: str | Path, *, offset: int = 0, frames: int | None = None, sample_rate: int = 16000
) -> Iterator[np.ndarray]:
    """Yield what :func:`read_mono` returns in pieces, for recordings too long to hold at once.

    The resampler runs on across pieces, so that joining them gives the samples of one reading.
    """
    info = probe(path)
    frames = info.frames - offset if frames is None else frames
    if offset < 0 or frames < 1 or offset + frames > info.frames:
        raise UnreadableAudio(
            f"frames {offset} to {offset + frames} are not within the file's {info.frames}"
        )
    blocks = _decode(Path(path), info, offset, frames)
    n_samples = 0
    for block in _resample(blocks, info.sample_rate, sample_rate, frames):
        n_samples += block.size
        yield block
    if not n_samples:
        raise UnreadableAudio(f"zero length: {frames} frames are no sample at {sample_rate} Hz")


def _decode(path: Path, info: AudioInfo, offset: int, frames: int) -> Iterator[np.ndarray]:
    """Yield finite mono blocks that add up to exactly ``frames`` frames."""
    decoded = 0
    for block in _blocks(path, info, offset, frames):
        decoded += len(block)
        mono = block[:, 0] if block.shape[1] == 1 else block.mean(axis=1)
        if not np.isfinite(mono).all():
            raise UnreadableAudio("not finite: NaN or infinite samples")
        yield np.ascontiguousarray(mono)
    if decoded < frames:
        raise UnreadableAudio(f"truncated: {decoded} of {frames} frames could be decoded")


def _blocks(path: Path, info: AudioInfo, offset: int, frames: int) -> Iterator[np.ndarray]:
    """Yield decoded blocks, (n, channels) float32; fewer frames than asked for when cut off."""
    if info.container == "FLAC" and frames == info.frames <= BLOCK_SAMPLES // info.channels:
        whole = _decode_flac(path, info)
        if whole is not None:
            yield whole
            return
    try:
        with sf.SoundFile(str(path)) as file:
            _skip(file, offset)
            while frames > 0:
                block = _next_block(file, frames)
                if not len(block):
                    return
                frames -= len(block)
                yield block
    except (sf.SoundFileError, OSError) as error:
        raise UnreadableAudio(f"truncated or damaged: {_why(error)}") from error


def _decode_flac(path: Path, info: AudioInfo) -> np.ndarray | None:
    """Return a whole FLAC file, (frames, channels); None if libsndfile must judge it."""
    if fast_flac is None:
        return None
    try:
        whole = fast_flac(path.read_bytes())
    except Exception:  # the decoder's own exception; libsndfile says what is wrong with the file
        return None
    return whole if whole.shape == (info.frames, info.channels) else None


def _skip(file: sf.SoundFile, offset: int) -> None:
    """Move to a frame; compressed streams are decoded up to it, since their seeking is inexact."""
    if file.format in ("MP3", "OGG", "MPEG"):
        while offset > 0:
            skipped = len(_next_block(file, offset))
            offset -= skipped
            if not skipped:
                return
    elif offset:
        file.seek(offset)


def _next_block(file: sf.SoundFile, frames: int) -> np.ndarray:
    most = max(1, BLOCK_SAMPLES // file.channels)
    block: np.ndarray = file.read(min(frames, most), dtype="float32", always_2d=True)
    return block


def _resample(
    blocks: Iterator[np.ndarray], rate: int, new_rate: int, frames: int
) -> Iterator[np.ndarray]:
    """Yield resampled blocks; of ``frames`` in all the last one flushes the filter."""
    if rate == new_rate:
        yield from blocks
        return
    stream = None
    for block in blocks:
        frames -= len(block)
        if stream is None and frames == 0:
            resampled = soxr.resample(block, rate, new_rate, quality="HQ")
        else:
            stream = stream or soxr.ResampleStream(rate, new_rate, 1, "float32", quality="HQ")
            resampled = stream.resample_chunk(block, last=frames == 0)
        if resampled.size:
            yield resampled


def _check_complete(path: str | Path, size: int, container: str) -> None:
    """Raise if a WAV or Ogg file ends before its own lengths say; libsndfile does not tell."""
    if container not in ("WAV", "WAVEX", "OGG"):
        return
    with open(path, "rb") as file:
        if container == "OGG":
            file.seek(max(0, size - 2**17))
            missing = _missing_ogg_bytes(file.read())
        else:
            missing = _missing_wav_bytes(file.read(2**16), size)
    if missing > 0:
        raise UnreadableAudio(f"truncated: the file ends {missing} bytes early")


def _missing_wav_bytes(head: bytes, size: int) -> int:
    order = ">" if head[:4] == b"RIFX" else "<"
    position = 12
    while position + 8 <= len(head):
        (length,) = struct.unpack_from(order + "I", head, position + 4)
        if head[position : position + 4] == b"data":
            return 0 if length >= _UNKNOWN_SIZE else position + 8 + length - size
        position += 8 + length + length % 2
    return 0


def _missing_ogg_bytes(tail: bytes) -> int:
    page = tail.rfind(b"OggS\0")
    n_segments = tail[page + 26] if 0 <= page < len(tail) - 26 else 0
    lacing = tail[page + 27 : page + 27 + n_segments]
    if page < 0:
        return 0
    return page + 27 + n_segments + sum(lacing) - len(tail)


def _why(error: Exception) -> str:
    """Return an error's own words without the path, which stands in another column."""
    text = getattr(error, "error_string", None) or getattr(error, "strerror", None) or str(error)
    return os.fspath(text).strip().rstrip(".")
