"""From a log-mel back to sound: an approximation to listen to, never to train on."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torchaudio.functional import griffinlim

from .log_mel import FrontEnd, mel_filters

_ITERATIONS = 50  # of both iterations below


def approximate_waveform(log_mel: np.ndarray, front_end: FrontEnd, *, seed: int = 0) -> np.ndarray:
    """Return a waveform whose log-mel is near to the given one.

    A mel band is a sum over frequencies and has no phase, so neither comes back: the power is the
    non-negative spectrum whose bands match best, the phase is guessed by the fast Griffin-Lim
    iteration (Perraudin, Balazs & Sondergaard 2013). Rhythm, loudness and the rough timbre are
    right; fine pitch and transients are smeared.

    Args:
        log_mel: Un-normalised log-mel in nats, (T, F).
        front_end: What it was made with.
        seed: Seed of the phases that Griffin-Lim starts from.

    Returns:
        Mono samples at the front-end's rate, (N,) float32 with N = (T - 1) * hop, at least 1.
    """
    n_samples = max(1, (len(log_mel) - 1) * front_end.hop)
    missing = max(0, front_end.n_fft // front_end.hop + 2 - len(log_mel))  # less has no transform
    log_mel = np.pad(log_mel.astype(np.float32), ((0, missing), (0, 0)), mode="edge")
    mel = torch.from_numpy(np.exp(log_mel)) - front_end.eps
    power = _non_negative_spectrum(mel.clamp(min=0).T, torch.from_numpy(mel_filters(front_end)))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        samples = griffinlim(
            power,
            torch.hann_window(front_end.n_fft),
            front_end.n_fft,
            front_end.hop,
            front_end.n_fft,
            power=2.0,
            n_iter=_ITERATIONS,
            momentum=0.99,
            length=None,
            rand_init=True,
        )
    return np.asarray(samples[:n_samples].numpy(), dtype=np.float32)


def _non_negative_spectrum(mel: Tensor, filters: Tensor) -> Tensor:
    """Return the power (N, T) >= 0 whose mel bands are nearest to ``mel``, (F, T).

    Multiplicative updates of non-negative least squares (Lee & Seung 2001).
    """
    target = filters @ mel
    power = target.clamp(min=1e-20)
    for _ in range(_ITERATIONS):
        power = power * target / (filters @ (filters.T @ power)).clamp(min=1e-20)
    return power
