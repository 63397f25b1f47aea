import numpy as np
import pytest
import torch

from unfused.data.inversion import approximate_waveform
from unfused.data.log_mel import FrontEnd

FRONT_END = FrontEnd()


def sound(kind):
    t = np.arange(15200) / 16000
    chirp = np.sin(2 * np.pi * (300 * t + 900 * t**2)) * np.exp(-2 * t)
    noise = np.random.default_rng(0).normal(size=len(t)) * (t > 0.4)
    return (0.2 * {"chirp": chirp, "noise": noise}[kind]).astype(np.float32)


@pytest.mark.parametrize("kind", ["chirp", "noise"])
def test_the_approximation_has_nearly_the_same_log_mel(kind):
    log_mel = FRONT_END.log_mel(sound(kind))
    wave = approximate_waveform(log_mel, FRONT_END)
    assert wave.shape == (15200,)
    assert wave.dtype == np.float32
    assert wave.std() == pytest.approx(sound(kind).std(), rel=0.1)
    loud = log_mel > log_mel.max() - 7
    error = np.abs(FRONT_END.log_mel(wave) - log_mel)[loud].mean()
    assert error < 0.35  # nats; silence would be off by more than 10


def test_silence_stays_silent():
    silent = np.full((96, 64), FRONT_END.pad_value, dtype=np.float32)
    assert np.abs(approximate_waveform(silent, FRONT_END)).max() < 1e-4


def test_same_seed_same_sound_and_the_callers_randomness_untouched():
    log_mel = FRONT_END.log_mel(sound("chirp"))
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first, second = (approximate_waveform(log_mel, FRONT_END) for _ in range(2))
    assert torch.equal(torch.rand(1), expected)
    np.testing.assert_array_equal(first, second)


def test_one_frame_is_enough():
    assert len(approximate_waveform(np.zeros((1, 64), dtype=np.float32), FRONT_END)) == 1
