"""Formats of phones and cameras, which libsndfile does not know: M4A, MP4, WMA, ..., by PyAV."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

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
_ROUNDED = 0.25  # seconds by which a header may exceed what is there: the encoder's delay


class FfmpegFile:
    """An audio file that is read from its beginning on, with the methods of ``SoundFile`` for that.

    Attributes:
        format: The container's name, as FFmpeg has it.
        samplerate, channels: Of its first audio track.

    Raises:
        OSError: No audio track, no known format or damaged, in FFmpeg's words; the methods raise it
            too.
    """

    def __init__(self, path: str | Path) -> None:
        try:
            self._container = av.open(str(path), options={"format_whitelist": _FORMATS})
        except (av.FFmpegError, ValueError) as error:
            raise OSError(_why(error)) from error
        if not self._container.streams.audio:
            self.close()
            raise OSError("no audio track")
        stream = self._container.streams.audio[0]
        self.format, self.samplerate = self._container.format.name.upper(), stream.sample_rate or 0
        self.channels = stream.channels or 0
        self._blocks = self._decoded(stream)
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
        stream = self._container.streams.audio[0]
        if stream.duration is not None and stream.time_base is not None:
            declared = float(stream.duration * stream.time_base)
            if n_frames < (declared - _ROUNDED) * self.samplerate:
                found = n_frames / self.samplerate
                raise OSError(f"truncated: {found:g} of {declared:g} seconds are there")
        return n_frames

    def _decoded(self, stream: av.AudioStream) -> Iterator[np.ndarray]:
        as_float = av.AudioResampler(format="fltp")
        try:
            for packet in self._container.demux(stream):
                for frame in packet.decode():
                    for part in as_float.resample(frame):
                        yield part.to_ndarray().T
        except (av.FFmpegError, ValueError) as error:
            raise OSError(_why(error)) from error


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
