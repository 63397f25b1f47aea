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
    return [sound(number) for number in range(40)]


def test_every_sound_is_finite_of_the_promised_length_and_loud_enough(sounds):
    for made in sounds:
        assert made.dtype == np.float32
        assert np.isfinite(made).all()
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
    assert min(where) < 400
    assert max(where) > 3000
    assert min(how) < 0.2
    assert max(how) > 1.0
    assert max(map(len, sounds)) > 4 * min(map(len, sounds))


def test_seed_and_number_decide_all():
    np.testing.assert_array_equal(sound(3), sound(3))
    for other in (sound(4), sound(3, seed=1)):
        assert len(other) != len(sound(3)) or not np.array_equal(other, sound(3))


@pytest.mark.parametrize(("pitch", "partials"), [(3000, [3000, 6000]), (2640, [2640, 5280])])
def test_a_tone_s_partials_are_where_they_should_be(pitch, partials, monkeypatch):
    """A steady tone without resonances has lines at multiples of its pitch, stretched a little.

    The third partial of 2,640 Hz is too close to half the rate to be let in.
    """
    n = SAMPLE_RATE  # a second, so a line a Hz
    phase = 2 * np.pi * pitch * np.arange(n) / SAMPLE_RATE
    tone = np.ones(n), np.full(n, float(pitch)), phase
    monkeypatch.setattr(synthesis, "_tone", lambda *_: tone)
    monkeypatch.setattr(synthesis, "_resonances", lambda *_: None)
    lines = set()
    for seed in range(40):
        made = np.hanning(n) * synthesis._partials(np.random.default_rng(seed), n)
        power = np.abs(np.fft.rfft(made)) ** 2
        lines |= set(np.flatnonzero(power > 1e-3 * power.max()))
    assert set(partials) <= lines
    assert all(any(-5 < line - of < 45 for of in partials) for line in lines)


SMALL = DemoSettings(n_sounds=5)


@pytest.fixture
def written(monkeypatch):
    """The files that are written from here on."""
    names, real = [], synthesis.write_clip

    def spy(file, clip):
        real(file, clip)
        names.append(file.name)

    monkeypatch.setattr(synthesis, "write_clip", spy)
    return names


def contents(folder):
    return {file.relative_to(folder): file.read_bytes() for file in folder.rglob("*.flac")}


def test_files_are_made_once_and_what_is_missing_is_made_again(tmp_path, written):
    folder = render_sounds(tmp_path, SMALL, n_jobs=1)
    before = contents(folder)
    assert folder.name == NAME
    assert len(written) == len(before) == 5
    (file,) = folder.rglob("000003.flac")
    read, rate = soundfile.read(file)
    assert rate == SAMPLE_RATE
    np.testing.assert_allclose(read, sound(3), atol=2**-15)
    file.unlink()
    assert render_sounds(tmp_path, SMALL, n_jobs=1) == folder
    assert written[5:] == ["000003.flac"]
    assert contents(folder) == before


def test_an_interrupted_synthesis_goes_on(tmp_path, monkeypatch, written):
    spied = synthesis.write_clip

    def interrupted(file, clip):
        if len(written) == 3:
            raise KeyboardInterrupt
        spied(file, clip)

    with monkeypatch.context() as patch:
        patch.setattr(synthesis, "write_clip", interrupted)
        with pytest.raises(KeyboardInterrupt):
            render_sounds(tmp_path, SMALL, n_jobs=1)
    render_sounds(tmp_path, SMALL, n_jobs=1)
    assert written == [f"{number:06d}.flac" for number in range(5)]


def test_other_numbers_and_seeds_are_other_corpora(tmp_path):
    many = [DemoSettings(n_sounds=n, seed=seed) for n, seed in ((2, 0), (3, 0), (2, 1))]
    first, more, other = (contents(render_sounds(tmp_path, of, n_jobs=1)) for of in many)
    assert first.items() <= more.items()
    assert not set(first.values()) & set(other.values())
