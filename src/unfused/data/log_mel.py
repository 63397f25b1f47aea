"""The log-mel front-end: waveform in, time-major log-mel spectrogram out, equal to librosa's."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, pairwise

import numpy as np
import torch
from torch import Tensor

from ..core.errors import UserError
from .front_end import FrontEndSettings

_CHUNK_FRAMES = 64  # frames transformed at once: 64 x 1024 float64 stay in the cache of one core
_FILTER_GROUPS = 4  # neighbouring filters that are multiplied together: most weights are zero


@dataclass(frozen=True)
class FrontEnd(FrontEndSettings):
    """How log-mels are made, and made; see :class:`~.front_end.FrontEndSettings` for the arguments.

    Power 2, periodic Hann window, centred frames with reflect padding, natural logarithm of (power
    + eps). It equals ``librosa.feature.melspectrogram`` with ``pad_mode="reflect"``; with the HTK
    scale and no norm ``torchaudio.transforms.MelSpectrogram`` as BYOL-A uses it.

    Raises:
        UserError: A value is out of its range, or a band has no frequency.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if not mel_filters(self).any(axis=0).all():
            raise UserError(
                f"n_mels={self.n_mels} leaves bands without a frequency bin at n_fft={self.n_fft}: "
                "use fewer bands or a longer n_fft"
            )

    @property
    def pad_value(self) -> float:
        """The log-mel of digital silence, log(eps), as float32 has it."""
        return float(np.log(np.float32(self.eps)))

    def frames(self, seconds: float) -> int:
        """Return how many frames a clip of this length has.

        >>> FrontEnd().frames(0.95)
        96
        """
        return 1 + round(seconds * self.sample_rate) // self.hop

    def log_mel(self, waveform: np.ndarray) -> np.ndarray:
        """Return the log-mel spectrogram of a mono clip, (N,) to (1 + N // hop, F) float32.

        Raises:
            UserError: The waveform is empty or has more than one dimension.
        """
        waveform = np.asarray(waveform, dtype=np.float32)
        if waveform.ndim != 1 or not waveform.size:
            raise UserError(f"a waveform of shape {waveform.shape} must be (N,) with N >= 1")
        return np.concatenate(list(self.log_mel_blocks([waveform])))

    def log_mel_blocks(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Yield the frames of :meth:`log_mel`, (T_i, F), of a clip in blocks, (N_i,), float32."""
        half = self.n_fft // 2
        held: np.ndarray = np.empty(0, dtype=np.float32)
        started = False
        nothing = np.empty(0, dtype=np.float32)  # what follows the last block
        for block, following in pairwise(chain(blocks, [nothing])):
            held = np.concatenate([held, block]) if held.size else block
            last = following is nothing
            left = half if not started and (last or held.size > half) else 0
            if held.size and (left or last):
                held = np.pad(held, (left, half if last else 0), mode="reflect")
            started = started or left > 0
            n_frames = (held.size - self.n_fft) // self.hop + 1
            if started and n_frames > 0:
                yield self._transform(held, n_frames)
                held = held[n_frames * self.hop :]  # at least n_fft - hop > half samples stay

    def _transform(self, samples: np.ndarray, n_frames: int) -> np.ndarray:
        """Log-mel of every ``hop``-th window of ``samples``, (n_frames, F)."""
        window, groups = self._kernels
        doubles = torch.from_numpy(samples).double()  # float32: off by 4e-4 beside a loud tone
        windows = doubles.unfold(0, self.n_fft, self.hop)
        mel = np.empty((n_frames, self.n_mels), dtype=np.float32)
        windowed = torch.empty((_CHUNK_FRAMES, self.n_fft), dtype=torch.float64)
        squares = np.empty((_CHUNK_FRAMES, self.n_fft + 2), dtype=np.float32)
        for first in range(0, n_frames, _CHUNK_FRAMES):
            end = min(first + _CHUNK_FRAMES, n_frames)
            chunk = torch.mul(windows[first:end], window, out=windowed[: end - first])
            parts = torch.view_as_real(torch.fft.rfft(chunk)).flatten(1).numpy()
            with np.errstate(over="ignore", invalid="ignore"):  # infinite power: the caller judges
                square = np.square(parts, out=squares[: end - first], casting="same_kind")
                for columns, bands, weights in groups:
                    mel[first:end, bands] = square[:, columns] @ weights
        return torch.from_numpy(mel).add_(self.eps).log_().numpy()

    @cached_property
    def _kernels(self) -> tuple[Tensor, list[tuple[slice, slice, np.ndarray]]]:
        """The window, (n_fft,) float64; of each group of filters its columns, bands and weights.

        Columns are out of the n_fft + 2 real and imaginary parts in turn, cut to where the weights
        (columns, bands) are not all zero.
        """
        window = torch.hann_window(self.n_fft, periodic=True, dtype=torch.float64)
        weights = np.repeat(mel_filters(self), 2, axis=0)  # the power is real**2 + imag**2
        groups = []
        for mels in np.array_split(np.arange(self.n_mels), min(_FILTER_GROUPS, self.n_mels)):
            parts = np.flatnonzero(weights[:, mels].any(axis=1))
            rows, columns = slice(parts[0], parts[-1] + 1), slice(mels[0], mels[-1] + 1)
            groups.append((rows, columns, weights[rows, columns].copy()))
        return window, groups


def mel_filters(front_end: FrontEnd) -> np.ndarray:
    """Return the weights from power to mel bands, (n_fft // 2 + 1, F) float32.

    Triangular filters, equally spaced on the mel scale (Slaney's, 1998, or HTK's).
    """
    to_mel, to_hz = _SCALES[front_end.mel_scale]
    lowest, highest = to_mel(front_end.f_min), to_mel(front_end.f_max)
    edges = to_hz(np.linspace(lowest, highest, front_end.n_mels + 2))  # (F + 2,)
    bins = np.linspace(0, front_end.sample_rate / 2, front_end.n_fft // 2 + 1)[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    triangles = np.maximum(0, np.minimum(rising, falling))
    area = 2 / (edges[2:] - edges[:-2]) if front_end.norm == "slaney" else 1.0
    return (triangles * area).astype(np.float32)


# Slaney's scale: 200/3 Hz per mel up to 1 kHz, from there 27 mels per factor of 6.4.
_HZ_PER_MEL, _KNEE_HZ, _LOG_STEP = 200 / 3, 1000.0, math.log(6.4) / 27
_KNEE_MEL = _KNEE_HZ / _HZ_PER_MEL


def _hz_to_mel(hz: float) -> float:
    above = _KNEE_MEL + math.log(max(hz, _KNEE_HZ) / _KNEE_HZ) / _LOG_STEP
    return hz / _HZ_PER_MEL if hz < _KNEE_HZ else above


def _mel_to_hz(mel: np.ndarray) -> np.ndarray:
    above = _KNEE_HZ * np.exp(_LOG_STEP * (np.maximum(mel, _KNEE_MEL) - _KNEE_MEL))
    return np.where(mel < _KNEE_MEL, mel * _HZ_PER_MEL, above)


_SCALES: dict[str, tuple[Callable[[float], float], Callable[[np.ndarray], np.ndarray]]] = {
    "slaney": (_hz_to_mel, _mel_to_hz),
    "htk": (lambda hz: 2595 * math.log10(1 + hz / 700), lambda mel: 700 * (10 ** (mel / 2595) - 1)),
}
