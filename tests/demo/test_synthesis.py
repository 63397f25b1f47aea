"""Random sounds: every one is heard, all differ, and the same seed makes the same."""

import numpy as np
import pytest
import soundfile

from unfused.core.seeding import numpy_generator
from unfused.demo import synthesis
from unfused.demo.settings import DemoSettings
from unfused.demo.synthesis import LONGEST, NAME, SAMPLE_RATE, SHORTEST, random_sound, render_sounds


def sound(number, seed=0):
    return random_sound(numpy_generator(seed, NAME, number))


@pytest.fixture(scope="module")
def sounds():
    return [sound(number) for number in range(60)]


def test_every_sound_is_finite_of_the_promised_length_and_loud_enough(sounds):
    for made in sounds:
        assert made.dtype == np.float32 and np.isfinite(made).all()
        assert SHORTEST <= len(made) / SAMPLE_RATE <= 1.01 * LONGEST
        assert 10 ** (-25.01 / 20) <= np.abs(made).max() <= 10 ** (-0.99 / 20)
        assert np.sqrt((made**2).mean()) > 1e-4


def test_sounds_are_of_many_kinds(sounds):
    def centroid(made):
        power = np.abs(np.fft.rfft(made)) ** 2
        return (power * np.linspace(0, SAMPLE_RATE / 2, len(power))).sum() / power.sum()

    def steadiness(made):  # of the loudness in 20 parts of the sound
        parts = [np.sqrt((part**2).mean()) for part in np.array_split(made, 20)]
        return np.std(parts) / np.mean(parts)

    where, how = [centroid(made) for made in sounds], [steadiness(made) for made in sounds]
    assert min(where) < 400 and max(where) > 3000
    assert min(how) < 0.2 and max(how) > 1.0
    assert max(map(len, sounds)) > 4 * min(map(len, sounds))


def test_seed_and_number_decide_all():
    np.testing.assert_array_equal(sound(3), sound(3))
    for other in (sound(4), sound(3, seed=1)):
        assert len(other) != len(sound(3)) or not np.array_equal(other, sound(3))


def test_a_tone_s_partials_are_where_they_should_be(monkeypatch):
    """A steady tone without resonances has lines at multiples of its pitch, stretched a little."""
    n, pitch = SAMPLE_RATE, 3000.0
    phase = 2 * np.pi * pitch * np.arange(n) / SAMPLE_RATE
    monkeypatch.setattr(synthesis, "_tone", lambda *_: (np.ones(n), np.full(n, pitch), phase))
    monkeypatch.setattr(synthesis, "_resonances", lambda *_: None)
    lines = set()
    for seed in range(40):
        tone = np.hanning(n) * synthesis._partials(np.random.default_rng(seed), n)
        power = np.abs(np.fft.rfft(tone)) ** 2
        lines |= set(np.flatnonzero(power > 1e-3 * power.max()))
    assert {3000, 6000} <= lines  # Hz: a second has a line a Hz
    assert all(2995 < line < 3010 or 5995 < line < 6045 for line in lines)  # nothing folded back


def test_files_are_made_once_and_what_is_missing_is_made_again(tmp_path, monkeypatch):
    settings = DemoSettings(n_sounds=5)
    folder = render_sounds(tmp_path, settings, n_jobs=1)
    files = sorted(folder.rglob("*.flac"))
    assert folder.name == NAME and len(files) == 5
    read, rate = soundfile.read(files[3])
    assert rate == SAMPLE_RATE
    np.testing.assert_allclose(read, sound(3), atol=2**-15)
    before = [file.read_bytes() for file in files]
    files[2].unlink()
    written = []
    real = synthesis.write_clip
    monkeypatch.setattr(
        synthesis, "write_clip", lambda file, clip: (written.append(file.name), real(file, clip))
    )
    assert render_sounds(tmp_path, settings, n_jobs=1) == folder
    assert written == ["000002.flac"]
    assert [file.read_bytes() for file in files] == before
