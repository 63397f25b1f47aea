import hashlib
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import soundfile

from unfused.core import outputs
from unfused.core.errors import UserError
from unfused.demo import rendering
from unfused.demo.corpus import render_demo
from unfused.demo.rendering import Note, Recording, Take, find_soundfont, play
from unfused.demo.settings import DemoSettings

SMALL = DemoSettings(n_sessions=4, n_notes=40, n_mixtures=20, seconds=0.3)
PLAIN = Recording(reverb=0, cents=0, gains=(0,) * 8, snr=60, slope=0, peak=-6, seed=0)
SQUARE = (Note(80, 69, 100, 0.0, 0.7),)  # a square wave at 440 Hz


@pytest.fixture(scope="module", autouse=True)
def renderer():
    pytest.importorskip("midirenderer")
    pytest.importorskip("pretty_midi")


@pytest.fixture(autouse=True)
def fresh_soundfont():
    find_soundfont.cache_clear()


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return render_demo(tmp_path_factory.mktemp("demo"), settings=SMALL, n_jobs=1)


@pytest.fixture
def written(monkeypatch):
    """The files of the clips that are rendered from here on."""
    paths = []

    real = rendering.write_clip

    def spy(path, clip):
        paths.append(path)
        real(path, clip)

    monkeypatch.setattr(rendering, "write_clip", spy)
    return paths


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.*")}


@pytest.mark.parametrize(
    ("name", "seconds"), [("instrument", 0.3), ("notes", 0.3), ("mixtures", 0.6)]
)
def test_a_corpus_looks_like_a_folder_of_ones_own(corpus, tmp_path, name, seconds):
    folder = corpus if name == "instrument" else render_demo(tmp_path, name, SMALL, n_jobs=1)
    table = pd.read_csv(folder / "labels.csv", keep_default_na=False)
    assert {"path", "label", "split"} <= set(table)
    assert {folder / path for path in table["path"]} == set(folder.rglob("*.flac"))
    for path in table["path"][::7]:
        waveform, rate = soundfile.read(folder / path)
        assert waveform.shape == (seconds * rate,)
        assert np.sqrt(np.mean(waveform**2)) > 1e-4
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "GNU General Public License, version 2" in card
    assert f" {len(table)}\n" in card


def test_two_processes_render_the_same_files(tmp_path):
    settings = DemoSettings(n_sessions=9, seconds=0.1)  # enough takes to start processes for
    one, two = (render_demo(tmp_path / f"{n}", settings=settings, n_jobs=n) for n in (1, 2))
    assert contents(one) == contents(two)


def test_no_two_clips_are_the_same_sound(corpus):
    digests = {hashlib.sha256(content).digest() for content in contents(corpus).values()}
    assert len(digests) == 240 + 2


def test_what_is_whole_is_not_rendered_again(corpus, written):
    assert render_demo(corpus.parents[1], settings=SMALL, n_jobs=1) == corpus
    assert written == []


def test_other_settings_are_another_corpus(corpus, tmp_path):
    folders = {
        render_demo(tmp_path, settings=replace(SMALL, **changed), n_jobs=1)
        for changed in ({}, {"seed": 1}, {"seconds": 0.2}, {"n_mixtures": 30})
    }
    assert len(folders) == 3  # the mixtures do not change the recordings


def test_an_interrupted_rendering_goes_on(corpus, tmp_path, monkeypatch):
    done = []

    real = rendering.write_clip

    def interrupted(path, clip):
        if len(done) == 42:
            raise KeyboardInterrupt
        real(path, clip)
        done.append(path)

    with monkeypatch.context() as patch:
        patch.setattr(rendering, "write_clip", interrupted)
        with pytest.raises(KeyboardInterrupt):
            render_demo(tmp_path, settings=SMALL, n_jobs=1)
    stamps = {path: path.stat().st_mtime_ns for path in done[:40]}  # whole takes
    assert contents(render_demo(tmp_path, settings=SMALL, n_jobs=1)) == contents(corpus)
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps


def test_a_damaged_clip_is_noticed_and_rendered_again(corpus, tmp_path, monkeypatch):
    folder = render_demo(tmp_path, settings=SMALL, n_jobs=1)
    clip = sorted(folder.rglob("*.flac"))[100]
    content = bytearray(clip.read_bytes())
    content[-20] ^= 1
    clip.write_bytes(content)
    monkeypatch.setattr(outputs, "_compared", set())  # as in a new process
    assert contents(render_demo(tmp_path, settings=SMALL, n_jobs=1)) == contents(corpus)


@pytest.mark.parametrize("missing", ["midirenderer", "pretty_midi"])
def test_without_the_extra_the_error_says_what_to_install(missing, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(UserError, match=missing) as caught:
        render_demo(tmp_path / "demo", settings=SMALL)
    assert 'pip install "unfused[demo]"' in str(caught.value)
    assert not (tmp_path / "demo").exists()


def test_another_soundfont_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(rendering, "SOUNDFONT_DIGEST", "0" * 32)
    with pytest.raises(UserError, match=r"TimGM6mb\.sf2 is another file"):
        render_demo(tmp_path / "demo", settings=SMALL)
    assert not (tmp_path / "demo").exists()


def test_a_note_sounds_its_pitch_and_decays_after_the_release():
    level = np.abs(play(Take(SQUARE, ()), 1.0))
    assert pitch_of(SQUARE, None) == 440
    assert len(level) == 16_000
    assert level[15_200:].mean() < 0.2 * level[6_400:11_200].mean()


def pitch_of(notes, recording):
    waveform = play(Take(notes, (), recording), 0.5)
    return 2 * int(np.argmax(np.abs(np.fft.rfft(waveform))))  # 2 Hz a bin


def test_an_instrument_out_of_tune_is_out_by_cents():
    assert pitch_of(SQUARE, PLAIN._replace(cents=50)) == pytest.approx(
        440 * 2 ** (50 / 1200), abs=2
    )


def test_noise_and_level_are_as_asked_for():
    clean = play(Take(SQUARE, (), PLAIN._replace(snr=200)), 1.0)
    noisy = play(Take(SQUARE, (), PLAIN._replace(snr=10)), 1.0)
    assert np.abs(clean).max() == np.abs(noisy).max() == pytest.approx(10 ** (-6 / 20))
    scale = clean @ noisy / (clean @ clean)
    noise = noisy - scale * clean
    snr = 20 * np.log10(np.linalg.norm(scale * clean) / np.linalg.norm(noise))
    assert snr == pytest.approx(10, abs=0.2)


def test_the_microphone_turns_up_what_it_is_told_to():
    lower = PLAIN._replace(snr=200, gains=(0, 0, 0, 20, 0, 0, 0, 0))  # 20 dB at 500 Hz
    before, after = (play(Take(SQUARE, (), how), 0.5) for how in (PLAIN._replace(snr=200), lower))
    spectra = [np.abs(np.fft.rfft(waveform)) for waveform in (before, after)]
    ratio = [spectrum[220] / spectrum[1100] for spectrum in spectra]  # 440 Hz over 2200 Hz
    assert 20 * np.log10(ratio[1] / ratio[0]) == pytest.approx(
        20 * (1 - np.log2(500 / 440)), abs=0.5
    )
