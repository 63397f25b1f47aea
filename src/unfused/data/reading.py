"""Decoding: any audio file libsndfile or FFmpeg knows, in; finite mono float32 at one rate, out."""

import os
import re
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile as sf
import soxr

from ..core.errors import UserError
from .ffmpeg import FFMPEG_SUFFIXES, FfmpegFile, has_ffmpeg

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
_SEQUENTIAL = ("MP3", "OGG", "MPEG")  # in which libsndfile's seeking is inexact
_left_off = threading.local()  # the state of a file, the open file, and the frame where it stands
_MALFORMED = 3  # libsndfile's error of a format that it knows and a file that is damaged
_UNKNOWN_SIZE = 0x7FFFF000  # recorders that stream to a pipe write a data size at least this large
# What libsndfile notes in its log where a file is cut off, and still reads it as a shorter one.
_BYTES = re.compile(
    r"^ *(?:data|SSND|BODY|Data Size|Data length|riff|Riff size)[ :]+(\d+) \(?should be (\d+)", re.M
)
_FRAMES = re.compile(r"^ *(?:Frames|Rows : \d+ +Cols|sample_count -i)[ :]*(\d+)", re.M)
_CUT_OFF = re.compile(r"^(?:Seems to be a|\*\*\* File seems to be) truncated", re.M)


class UnreadableAudio(UserError):  # noqa: N818  the state of the file, not of the program
    """An audio file cannot be used; the message says why."""


class AudioInfo(NamedTuple):
    """Samples per channel, their rate, channels, and what the decoder calls the format."""

    frames: int
    sample_rate: int
    channels: int
    container: str


def probe(path: str | Path) -> AudioInfo:
    """Read a file's header; its extension matters only where libsndfile does not know the format.

    Raises:
        UnreadableAudio: Not found, empty, no audio format, cut off, no channels or no frames.
    """
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for its writer
            raise UnreadableAudio("not a file")
        if status.st_size == 0:
            raise UnreadableAudio("empty file: 0 bytes")
        with closing(_open(path)) as file:
            if isinstance(file, FfmpegFile):
                n_frames = _counted(*_state(Path(path)))
            elif missing := _missing(path, file, status.st_size):
                raise UnreadableAudio(f"truncated: {missing}")
            else:
                n_frames = file.frames
            info = AudioInfo(n_frames, file.samplerate, file.channels, file.format)
    except (FileNotFoundError, NotADirectoryError):
        raise UnreadableAudio("file not found") from None
    except (sf.SoundFileError, OSError) as error:
        raise UnreadableAudio(f"unreadable: {_why(error)}") from error
    if info.channels < 1 or info.sample_rate < 1:
        raise UnreadableAudio(f"{info.channels} channels at {info.sample_rate} Hz: no audio")
    if info.frames < 1:
        raise UnreadableAudio("zero length: the header says 0 frames (empty or truncated)")
    return info


@lru_cache(2**16)
def _counted(path: str, *_: int) -> int:
    """Count the frames of a file in this state; it has to be decoded for that."""
    with closing(FfmpegFile(path)) as file:
        return file.count()


def _open(path: str | Path) -> Any:
    try:
        file = sf.SoundFile(str(path))
    except sf.SoundFileError as error:
        damaged = getattr(error, "code", None) == _MALFORMED  # FFmpeg would take what is left
        if damaged or Path(path).suffix.lower() not in FFMPEG_SUFFIXES:
            raise
        if not has_ffmpeg:
            raise UnreadableAudio('needs PyAV: pip install "unfused[phone]"') from None
        return FfmpegFile(path)
    if file.format == "RAW":  # libsndfile takes anything that is called .au, .snd or .vox for one
        file.close()
        raise UnreadableAudio("no audio format: there is no header")
    return file


def _missing(path: str | Path, header: Any, size: int) -> str:
    """Say what of the data that a file declares is not there; "" if all is."""
    notes = header.extra_info
    if header.format in ("OGG", "NIST"):  # these libsndfile does not compare
        with open(path, "rb") as file:
            if header.format == "OGG":
                file.seek(max(0, size - 2**17))
                lost = _missing_ogg_bytes(file.read())
                return f"the file ends {lost} bytes early" if lost > 0 else ""
            notes += file.read(1024).decode("latin-1")
    for declared, there in _BYTES.findall(notes):
        if int(there) < int(declared) < _UNKNOWN_SIZE:
            return f"the file ends {int(declared) - int(there)} bytes early"
    frames = max(map(int, _FRAMES.findall(notes)), default=0)
    if header.frames < frames < _UNKNOWN_SIZE and header.format != "SDS":  # it pads its last block
        return f"{header.frames} of {frames} frames are there"
    return "the file ends inside a block" if _CUT_OFF.search(notes) else ""


def _missing_ogg_bytes(tail: bytes) -> int:
    page = tail.rfind(b"OggS\0")
    if page < 0:
        return 0
    n_segments = tail[page + 26] if page < len(tail) - 26 else 0
    lacing = tail[page + 27 : page + 27 + n_segments]
    return page + 27 + n_segments + sum(lacing) - len(tail)


def read_mono(
    path: str | Path, *, offset: int = 0, frames: int | None = None, sample_rate: int = 16000
) -> np.ndarray:
    """Return mono samples of a file or a part of it, (N,) float32, N >= 1.

    Channels are averaged, and resampled (soxr, HQ) to ``sample_rate`` Hz. The part begins at frame
    ``offset`` and has so many ``frames`` at the file's own rate; None reads to the end.

    Raises:
        UnreadableAudio: As :func:`probe`; or truncated, damaged, NaN or infinite samples, or a part
            that reaches beyond the end of the file.
    """
    parts = read_mono_blocks(path, offset=offset, frames=frames, sample_rate=sample_rate)
    return np.concatenate(list(parts))


def read_mono_blocks(
    path: str | Path, *, offset: int = 0, frames: int | None = None, sample_rate: int = 16000
) -> Iterator[np.ndarray]:
    """Yield what :func:`read_mono` returns in pieces, for recordings too long to hold at once."""
    info = probe(path)
    frames = info.frames - offset if frames is None else frames
    if offset < 0 or frames < 1 or offset + frames > info.frames:
        raise UnreadableAudio(
            f"frames {offset} to {offset + frames} are not within the file's {info.frames}"
        )
    stream = None
    if info.sample_rate != sample_rate:  # runs on across pieces
        stream = soxr.ResampleStream(info.sample_rate, sample_rate, 1, "float32", quality="HQ")
    decoded = n_samples = 0
    for block in _blocks(Path(path), info, offset, frames):
        decoded += len(block)
        mono = block[:, 0] if block.shape[1] == 1 else block.mean(axis=1)
        if not np.isfinite(mono).all():
            raise UnreadableAudio("not finite: NaN or infinite samples")
        mono = np.ascontiguousarray(mono)
        if stream is not None:
            mono = stream.resample_chunk(mono, last=bool(decoded == frames))
        n_samples += mono.size
        if mono.size:
            yield mono
    if decoded < frames:
        raise UnreadableAudio(f"truncated: {decoded} of {frames} frames could be decoded")
    if not n_samples:
        raise UnreadableAudio(f"zero length: {frames} frames are no sample at {sample_rate} Hz")


def _blocks(path: Path, info: AudioInfo, offset: int, frames: int) -> Iterator[np.ndarray]:
    """Yield decoded blocks, (n, channels) float32; fewer frames than asked for when cut off."""
    most = max(1, BLOCK_SAMPLES // info.channels)
    if fast_flac is not None and info.container == "FLAC" and frames == info.frames <= most:
        try:
            whole = fast_flac(path.read_bytes())
        except Exception:  # the decoder's own; libsndfile says what is wrong with the file
            whole = np.empty((0, 0))
        if whole.shape == (info.frames, info.channels):
            yield whole
            return
    try:
        file, at = _opened(path, offset)
        try:
            while at < offset + frames:
                block = file.read(
                    min(offset - at if at < offset else offset + frames - at, most),
                    dtype="float32", always_2d=True,
                )  # fmt: skip
                if not len(block):
                    return
                at += len(block)
                if at > offset:
                    yield block
            if _in_order(file) and at < info.frames:
                _left_off.file = (_state(path), file, at)
        finally:
            if getattr(_left_off, "file", (None, None))[1] is not file:
                file.close()
    except (sf.SoundFileError, OSError) as error:
        raise UnreadableAudio(f"truncated or damaged: {_why(error)}") from error


def _opened(path: Path, offset: int) -> tuple[Any, int]:
    """Return an open file and the frame at which it stands, ``offset`` or before it.

    In formats in which seeking is inexact that is where the last reading left off: the windows of a
    long recording are decoded in one pass.
    """
    state, file, at = getattr(_left_off, "file", (None, None, 0))
    if file is not None and state == _state(path) and at <= offset:
        del _left_off.file
        return file, at
    start_over()
    file = _open(path)
    if _in_order(file) or not offset:
        return file, 0
    file.seek(offset)
    return file, offset


def _in_order(file: Any) -> bool:
    return isinstance(file, FfmpegFile) or file.format in _SEQUENTIAL


def start_over() -> None:
    """Let the next reading begin at the beginning of its file: decoders round by what came before.

    What is made of several readings is then the same whatever this process has read until now.
    """
    _, file = _left_off.__dict__.pop("file", (None, None, 0))[:2]
    if file is not None:
        file.close()


def _state(path: Path) -> tuple[str, int, int]:
    found = path.stat()
    return str(path), found.st_size, found.st_mtime_ns


def _why(error: Exception) -> str:
    """Return an error's own words without the path."""
    text = getattr(error, "error_string", None) or getattr(error, "strerror", None) or str(error)
    return os.fspath(text).strip().rstrip(".")
