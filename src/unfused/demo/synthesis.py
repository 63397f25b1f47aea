"""Random sounds to pre-train on, made on this machine: as many as one likes, free of any rights.

A sound is one to three voices: partials or frequency modulation that glide and tremble, noise
through moving resonances, strokes on something that rings; each swells and fades in events of its
own, in a room or without, over background noise. All is drawn at random; what modulation makes
beyond half the rate is folded back, and heard. The synthesiser is ours, the idea that encoders
learn from such sounds Cherep and Singh's (arXiv 2406.05923), who have another. What they are
worth: docs/results.md#random-sounds.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from joblib import delayed
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import signal
from scipy.fft import next_fast_len

from ..core.outputs import OutputFolder
from ..core.seeding import numpy_generator
from ..core.source import source_digest
from .rendering import SAMPLE_RATE, in_processes, write_clip
from .settings import DemoSettings

NAME = "synthetic"
SHORTEST, LONGEST = 0.6, 6.0
"""Seconds; lengths between them are spread evenly on a logarithmic scale."""
_CONTROL = 50  # values a second of what changes slowly
_WINDOW = 512  # samples, of the noise's spectra
Curve = NDArray[np.float64]


def random_sound(draw: Generator) -> NDArray[np.float32]:
    """Return a random sound at 16 kHz, (N,), its loudest sample between -25 and -1 dB."""
    n = next_fast_len(round(SAMPLE_RATE * _log_uniform(draw, SHORTEST, LONGEST)), real=True)
    sound = np.zeros(n)
    for _ in range(draw.choice([1, 2, 3], p=[0.5, 0.35, 0.15])):
        voice = _VOICES[draw.integers(len(_VOICES))](draw, n)
        sound += _log_uniform(draw, 0.1, 1) * voice / _level(voice)
    if draw.random() < 0.35:  # in a room
        length = round(SAMPLE_RATE * _log_uniform(draw, 0.05, 1))
        echo = draw.standard_normal(length) * np.exp(-6 * np.arange(length) / length)
        wet = signal.fftconvolve(sound, echo / np.linalg.norm(echo))[:n]
        sound += _log_uniform(draw, 0.1, 1) * wet
    if draw.random() < 0.7:  # background
        spectrum = np.fft.rfft(draw.standard_normal(n))
        hertz = np.linspace(0, SAMPLE_RATE / 2, len(spectrum))
        noise = np.fft.irfft(spectrum * (hertz + 50) ** -draw.uniform(0, 1), n)
        sound += _decibels(-draw.uniform(5, 60)) * _level(sound) * noise / _level(noise)
    return (_decibels(-draw.uniform(1, 25)) * sound / np.abs(sound).max()).astype(np.float32)


def _partials(draw: Generator, n: int) -> Curve:
    """Return a harmonic or stretched tone, most often through moving resonances."""
    loudness, pitch, phase = _tone(draw, n)
    time = np.arange(n) / SAMPLE_RATE
    slow = np.linspace(0, time[-1], max(2, round(time[-1] * _CONTROL)))
    slow_pitch = np.interp(slow, time, pitch)
    resonances = _resonances(draw, slow) if draw.random() < 0.7 else None
    floor, slope = _log_uniform(draw, 0.01, 0.3), draw.uniform(0, 2)
    stretch = _log_uniform(draw, 1e-5, 3e-3) if draw.random() < 0.35 else 0.0
    even = draw.random() if draw.random() < 0.35 else 1.0  # below 1: hollow, as a clarinet
    tone = np.zeros(n)
    for k in range(1, draw.integers(2, 33)):
        ratio = k * np.sqrt(1 + stretch * k * k)
        if ratio * pitch.min() > SAMPLE_RATE / 2:
            break
        gain = k**-slope * draw.uniform(0.3, 1) * (even if k % 2 == 0 else 1.0)
        heard = ratio * pitch < 0.49 * SAMPLE_RATE
        if resonances:
            heard = heard * np.interp(time, slow, _gain(resonances, ratio * slow_pitch, floor))
        tone += gain * heard * np.sin(ratio * phase + draw.uniform(0, 2 * np.pi))
    return loudness * tone


def _modulated(draw: Generator, n: int) -> Curve:
    """Return frequency modulation of one sine by another (Chowning 1973)."""
    loudness, _, phase = _tone(draw, n)
    simple = draw.integers(1, 8) / draw.integers(1, 5)
    ratio = simple if draw.random() < 0.5 else _log_uniform(draw, 0.2, 8)
    depth = _log_uniform(draw, 0.2, 12) * (loudness if draw.random() < 0.6 else 1.0)
    return loudness * np.sin(phase + depth * np.sin(ratio * phase))


def _noise(draw: Generator, n: int) -> Curve:
    """Return noise through moving resonances."""
    hertz, time, spectra = signal.stft(draw.standard_normal(n), SAMPLE_RATE, nperseg=_WINDOW)
    grid = np.repeat(hertz[:, None], len(time), axis=1)
    gain = _gain(_resonances(draw, time), grid, _log_uniform(draw, 0.003, 0.2))
    gain *= (grid + 50) ** -draw.uniform(-0.2, 1.2)
    return _events(draw, n)[0] * signal.istft(spectra * gain, SAMPLE_RATE, nperseg=_WINDOW)[1][:n]


def _strokes(draw: Generator, n: int) -> Curve:
    """Return strokes, regular or not, on something that rings."""
    rate = _log_uniform(draw, 1, 80)
    every = np.arange(0, n, SAMPLE_RATE / rate).astype(int)
    struck = every if draw.random() < 0.5 else draw.integers(0, n, len(every))
    strokes, time = np.zeros(n), np.arange(round(0.4 * SAMPLE_RATE)) / SAMPLE_RATE
    strokes[struck] = draw.uniform(0.3, 1, len(struck))
    body = np.zeros(len(time))
    for _ in range(draw.integers(1, 6)):
        mode = 2 * np.pi * _log_uniform(draw, 80, 6000) * time + draw.uniform(0, 2 * np.pi)
        body += draw.uniform(0.2, 1) * np.exp(-time / _log_uniform(draw, 0.003, 0.3)) * np.sin(mode)
    if draw.random() < 0.6:
        click = draw.standard_normal(len(time)) * np.exp(-time / _log_uniform(draw, 0.002, 0.1))
        body += draw.uniform(0.1, 1) * click
    sound = signal.fftconvolve(strokes, body)[:n]
    return sound * _events(draw, n)[0] if draw.random() < 0.5 else sound


_VOICES: tuple[Callable[[Generator, int], Curve], ...] = (
    *(_partials, _partials, _modulated, _noise, _strokes),
)


def _events(draw: Generator, n: int) -> tuple[Curve, NDArray[np.int64]]:
    """Return the loudness of one to eight events, (N,), and which of them sounds, (N,)."""
    time = np.arange(n) / SAMPLE_RATE
    many, end = draw.integers(1, 9), n / SAMPLE_RATE
    regular = draw.random() < 0.4
    starts = np.arange(many) * end / many if regular else np.sort(draw.uniform(0, 0.8 * end, many))
    starts[0] = draw.uniform(0, 0.1)
    attack, decay = _log_uniform(draw, 0.002, 0.3), _log_uniform(draw, 0.02, 2)
    held = draw.uniform(0.1, 1) if draw.random() < 0.5 else 0.0
    release = draw.uniform(0.01, 0.11)
    loudness, which = np.zeros(n), np.zeros(n, np.int64)
    for number, start in enumerate(starts):
        since = time[time >= start] - start
        until = (starts[number + 1] if number + 1 < many else end) - start
        fades = held + (1 - held) * np.exp(-np.maximum(since - attack, 0) / decay)
        event = np.minimum(since / attack, 1) * fades
        event *= draw.uniform(0.3, 1) * np.exp(-np.maximum(since - until, 0) / release)
        loudness[n - len(since) :] = np.maximum(loudness[n - len(since) :], event)
        which[n - len(since) :] = number
    return loudness, which


def _tone(draw: Generator, n: int) -> tuple[Curve, Curve, Curve]:
    """Return loudness, pitch in Hz and phase of a tone that glides, jumps and trembles, (N,)."""
    loudness, which = _events(draw, n)
    time = np.arange(n) / SAMPLE_RATE
    pitch = _wander(draw, time, _log_uniform(draw, 60, 1500), draw.choice([0, 0.03, 0.3]))
    jumps = draw.choice([0, 0.1, 0.4]) * draw.normal(size=which.max() + 1)
    pitch *= np.exp(jumps[which])
    if draw.random() < 0.4:
        tremble = np.sin(2 * np.pi * _log_uniform(draw, 2, 10) * time)
        pitch *= 1 + _log_uniform(draw, 0.002, 0.05) * tremble
    pitch = np.clip(pitch, 30, 4000)
    return loudness, pitch, 2 * np.pi * np.cumsum(pitch) / SAMPLE_RATE


def _resonances(draw: Generator, time: Curve) -> list[tuple[Curve, float, float]]:
    """Return one to four resonances: centre over time in Hz, width in e-folds, gain."""
    return [
        (
            _wander(draw, time, _log_uniform(draw, 150, 6000), draw.choice([0.02, 0.25])),
            *(_log_uniform(draw, 0.05, 0.6), draw.uniform(0.3, 1)),
        )
        for _ in range(draw.integers(1, 5))
    ]


def _gain(resonances: list[tuple[Curve, float, float]], hertz: Curve, floor: float) -> Curve:
    place, gain = np.log(np.maximum(hertz, 20)), np.full(hertz.shape, floor)
    for centre, width, height in resonances:
        gain += height * np.exp(-0.5 * ((place - np.log(centre)) / width) ** 2)
    return gain


def _wander(draw: Generator, time: Curve, around: float, spread: float) -> Curve:
    """Return what wanders around a value: random points on a logarithmic scale, and lines."""
    points = max(2, int(time[-1] * draw.uniform(0.5, 7)) + 2)
    places = np.linspace(0, time[-1], points)
    return around * np.exp(np.interp(time, places, draw.normal(0, spread, points)))


def _log_uniform(draw: Generator, low: float, high: float) -> float:
    return float(np.exp(draw.uniform(np.log(low), np.log(high))))


def _level(sound: Curve) -> float:
    return float(np.sqrt(np.mean(sound**2))) + 1e-9


def _decibels(value: float) -> float:
    return float(10 ** (value / 20))


def render_sounds(
    folder: str | Path, settings: DemoSettings | None = None, *, n_jobs: int = -1
) -> Path:
    """Make random sounds, or what is missing of them, and return their own folder.

    They are FLAC files, 16 kHz, mono, 16 bit, in ``synthetic`` below the given folder.

    Raises:
        OSError: ``folder`` cannot be written.
    """
    settings = settings or DemoSettings()
    numbers = range(settings.n_sounds)

    def build(path: Path) -> None:
        files = [path / NAME / f"{number // 1000:03d}" / f"{number:06d}.flac" for number in numbers]
        for parent in {file.parent for file in files}:
            parent.mkdir(parents=True, exist_ok=True)
        jobs = [
            delayed(_write)(file, settings.seed, number)
            for file, number in zip(files, numbers, strict=True)
            if not file.is_file()
        ]
        in_processes(jobs, path, n_jobs, desc="synthesis", unit="clip")

    made_of = {"n": settings.n_sounds, "seed": settings.seed}
    known = {**made_of, "source": source_digest("demo.synthesis")}
    return OutputFolder(Path(folder)).built(NAME, known, build) / NAME


def _write(file: Path, seed: int, number: int) -> None:
    write_clip(file, random_sound(numpy_generator(seed, NAME, number)))
