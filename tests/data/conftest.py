from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

Write = Callable[..., Path]
Tone = Callable[..., np.ndarray]


def chord_in_noise(seconds: float = 0.5, rate: int = 16000, seed: int = 0) -> np.ndarray:
    """A chord in noise, (N,) float32 within [-1, 1]."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    chord = sum(np.sin(2 * np.pi * hz * time) for hz in rng.uniform(80, 0.4 * rate, 4))
    return (0.1 * chord + 0.01 * rng.standard_normal(time.size)).astype(np.float32)


@pytest.fixture
def tone() -> Tone:
    return chord_in_noise


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes one audio file below ``tmp_path / "audio"`` and returns its path."""

    def _write(
        name: str, seconds: float = 0.5, rate: int = 16000, seed: int = 0, **settings
    ) -> Path:
        path = tmp_path / "audio" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        sf.write(path, chord_in_noise(seconds, rate, seed), rate, **settings)
        return path

    return _write
