from __future__ import annotations

from collections.abc import Callable

import librosa
import numpy as np
import pytest

from unfused.data.log_mel import FrontEnd, mel_filters

Tone = Callable[..., np.ndarray]


def librosa_log_mel(waveform: np.ndarray, f: FrontEnd) -> np.ndarray:
    mel = librosa.feature.melspectrogram(
        y=waveform, sr=f.sample_rate, n_fft=f.n_fft, hop_length=f.hop, n_mels=f.n_mels,
        fmin=f.f_min, fmax=f.f_max, pad_mode="reflect",
    )  # fmt: skip
    return np.log(mel + f.eps).T


@pytest.mark.parametrize(
    "front_end",
    [FrontEnd(), FrontEnd(n_mels=128, n_fft=2048, hop=400, f_min=0.0, f_max=8000.0, eps=1e-6)],
)
def test_filters_equal_librosa(front_end: FrontEnd) -> None:
    expected = librosa.filters.mel(
        sr=front_end.sample_rate, n_fft=front_end.n_fft, n_mels=front_end.n_mels,
        fmin=front_end.f_min, fmax=front_end.f_max,
    )  # fmt: skip
    np.testing.assert_allclose(mel_filters(front_end), expected.T, atol=1e-8)


@pytest.mark.filterwarnings("ignore:n_fft=")
@pytest.mark.parametrize("n", [1, 2, 100, 512, 513, 1024, 1601, 16000, 70000])
def test_equals_librosa_at_any_length(n: int, tone: Tone) -> None:
    waveform = tone(5.0)[:n]
    log_mel = FrontEnd().log_mel(waveform)
    assert log_mel.shape == (1 + n // 160, 64)
    assert log_mel.dtype == np.float32
    np.testing.assert_allclose(log_mel, librosa_log_mel(waveform, FrontEnd()), atol=1e-4)


@pytest.mark.parametrize("amplitude", [1.0, 0.1, 1e-4])
@pytest.mark.parametrize("hz", [50, 440, 7000])
def test_equals_librosa_beside_a_loud_tone(amplitude: float, hz: int, tone: Tone) -> None:
    """Bands near log(eps) next to a full-scale tone need double precision in the transform."""
    waveform = (amplitude * np.sin(2 * np.pi * hz * np.arange(16000) / 16000)).astype(np.float32)
    waveform[8000:] = 0
    expected = librosa_log_mel(waveform, FrontEnd())
    np.testing.assert_allclose(FrontEnd().log_mel(waveform), expected, atol=1e-4)


@pytest.mark.parametrize("n_mels", [1, 3, 40, 42])
def test_other_settings_equal_librosa(n_mels: int, tone: Tone) -> None:
    front_end = FrontEnd(
        sample_rate=22050, n_fft=512, hop=128, n_mels=n_mels, f_min=0.0, f_max=11025.0
    )
    waveform = tone(1.0, 22050)
    expected = librosa_log_mel(waveform, front_end)
    np.testing.assert_allclose(front_end.log_mel(waveform), expected, atol=1e-4)


@pytest.mark.parametrize("cuts", [[1], [10, 400, 513, 7000, 7001], [500, 512], [39999]])
def test_blocks_equal_the_whole(cuts: list[int], tone: Tone) -> None:
    waveform = tone(2.5)
    blocks = FrontEnd().log_mel_blocks(np.split(waveform, cuts))
    np.testing.assert_allclose(
        np.concatenate(list(blocks)), FrontEnd().log_mel(waveform), atol=1e-6
    )


def test_silence_is_the_pad_value() -> None:
    front_end = FrontEnd()
    assert front_end.log_mel(np.zeros(3000, np.float32)) == pytest.approx(front_end.pad_value)


def test_louder_is_higher(tone: Tone) -> None:
    waveform = tone(1.0)
    difference = FrontEnd().log_mel(10 * waveform) - FrontEnd().log_mel(waveform)
    assert np.median(difference) == pytest.approx(np.log(100), abs=1e-3)  # power grows 100-fold


@pytest.mark.parametrize(
    "settings",
    [
        {"hop": 0},
        {"n_mels": 2.5},
        {"n_fft": 1023},
        {"hop": 512},
        {"f_max": 8001.0},
        {"f_min": 7800.0},
        {"eps": 0.0},
        {"n_mels": 512},
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        FrontEnd(**settings)


@pytest.mark.parametrize("waveform", [np.empty(0), np.zeros((2, 100))])
def test_no_mono_waveform_is_refused(waveform: np.ndarray) -> None:
    with pytest.raises(ValueError, match="must be"):
        FrontEnd().log_mel(waveform)


def test_settings_rebuild_the_front_end() -> None:
    front_end = FrontEnd(n_mels=32, f_max=4000.0)
    assert FrontEnd(**front_end.settings()) == front_end
    assert front_end != FrontEnd()
