"""Formats of phones and cameras, which libsndfile does not know: M4A, MP4, WMA, ..., by PyAV."""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

try:  # the extra "phone"
    import av
except ImportError:
    has_ffmpeg = False
else:
    has_ffmpeg = True

FFMPEG_SUFFIXES = frozenset(
    (".3gp", ".aac", ".ac3", ".amr", ".ape", ".asf", ".avi", ".caf", ".flv", ".m4a", ".m4b", ".m4v",
     ".mka", ".mkv", ".mov", ".mp4", ".mpc", ".mts", ".tta", ".webm", ".wma", ".wmv", ".wv")
)  # fmt: skip
_FORMATS = (  # none that opens other files, as playlists do
    "3g2,3gp,aac,ac3,amr,ape,asf,avi,caf,flv,m4a,matroska,mj2,mov,mp4,mpc,mpc8,mpegts,tta,webm,wv"
)
_SAY_HOW_LONG = {"ape", "asf", "avi", "caf", "flv", "matroska", "mov", "tta", "wv"}
_ROUNDED = 0.25  # seconds by which a header may exceed what is there: the encoder's delay


class FfmpegFile:
    """An audio file that is read from its beginning on, with the names of ``SoundFile`` for that.

    Raises:
        OSError: No audio track, no known format or codec, damaged, or another rate or number of
            channels from some place on. The methods raise it too.
    """

    def __init__(self, path: str | Path) -> None:
        try:
            self._container = av.open(
                str(path), options={"format_whitelist": _FORMATS}, metadata_errors="replace"
            )
        except (av.FFmpegError, ValueError) as error:
            raise OSError(getattr(error, "strerror", None) or str(error)) from error
        try:
            self._begin()
        except BaseException:
            self.close()
            raise

    def _begin(self) -> None:
        if not self._container.streams.audio:
            raise OSError("no audio track")
        self._stream = self._container.streams.audio[0]
        if self._stream.codec_context is None:
            raise OSError("unknown codec")
        frames = self._decoded()
        first = next(frames, None)
        if first is None:
            raise OSError("nothing in it can be decoded")
        self.format = self._container.format.name.upper()
        self.samplerate, self.channels = first.sample_rate, first.layout.nb_channels
        self._blocks = (self._block(frame) for frame in chain([first], frames))
        self._rest = np.empty((0, self.channels), np.float32)

    def read(self, frames: int, **_: object) -> np.ndarray:
        """Return the next frames, (n, channels) float32; fewer at the end."""
        blocks, n = [self._rest], len(self._rest)
        while n < frames and (block := next(self._blocks, None)) is not None:
            blocks.append(block)
            n += len(block)
        found = np.concatenate(blocks)
        self._rest = found[frames:]
        return found[:frames]

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def count(self) -> int:
        """Return how many frames there are, decoding all of them: headers say so only nearly."""
        n_frames = sum(len(block) for block in self._blocks)
        found, declared = n_frames / self.samplerate, self._declared()
        if found < declared - _ROUNDED:
            raise OSError(f"truncated: {found:g} of {declared:g} seconds are there")
        return n_frames

    def _declared(self) -> float:
        """Return how many seconds the header says there are; 0 where it does not say so."""
        if self._container.format.name.split(",")[0] not in _SAY_HOW_LONG:
            return 0.0  # FFmpeg guesses, by the first packets
        if self._stream.duration is not None and self._stream.time_base is not None:
            return float(self._stream.duration * self._stream.time_base)
        alone = len(self._container.streams) == 1  # a film may be longer than its sound
        return (self._container.duration or 0) / av.time_base if alone else 0.0

    def _decoded(self) -> Iterator[Any]:
        as_float = av.AudioResampler(format="fltp")
        try:
            for packet in self._container.demux(self._stream):
                for frame in packet.decode():
                    yield from as_float.resample(frame)
        except (av.FFmpegError, ValueError) as error:
            raise OSError(getattr(error, "strerror", None) or str(error)) from error

    def _block(self, frame: Any) -> np.ndarray:
        if (frame.sample_rate, frame.layout.nb_channels) != (self.samplerate, self.channels):
            raise OSError("its rate or its channels change on the way")
        return frame.to_ndarray().T
