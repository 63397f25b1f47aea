import importlib
import json
import shutil
import sys

import numpy as np
import pandas as pd
import pytest
import soundfile

from unfused.demo import corpus as demo_corpus
from unfused.demo.corpus import render_demo_corpus
from unfused.demo.note_rendering import (
    DemoUnavailableError,
    find_soundfont,
    midi_note,
    render_note,
    variable_length,
    write_note,
)

SMALL = {"n_notes": 258, "seconds": 0.3, "n_jobs": 1}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    pytest.importorskip("midirenderer")
    pytest.importorskip("pretty_midi")
    folder = tmp_path_factory.mktemp("demo") / "corpus"
    return folder, render_demo_corpus(folder, **SMALL)


@pytest.fixture
def copy(corpus, tmp_path):
    """A copy of the corpus that a test may change."""
    return shutil.copytree(corpus[0], tmp_path / "copy")


@pytest.fixture
def rendered(monkeypatch):
    """The paths of the notes that are rendered from here on."""
    paths = []

    def spy(path, *arguments):
        paths.append(path)
        return write_note(path, *arguments)

    monkeypatch.setattr(demo_corpus, "write_note", spy)
    return paths


def contents(folder):
    return {path.name: path.read_bytes() for path in (folder / "audio").iterdir()}


def test_every_row_is_an_audible_clip_of_the_length_asked_for(corpus):
    folder, table = corpus
    assert len(table) == 258
    assert {f"audio/{name}" for name in contents(folder)} == set(table["path"])
    for path in table["path"][::20]:
        waveform, rate = soundfile.read(folder / path)
        assert waveform.shape == (round(0.3 * rate),)
        assert np.sqrt(np.mean(waveform**2)) >= 1e-4


def test_no_recording_is_in_training_and_in_test(corpus):
    _, table = corpus
    samples = {
        split: {sample for text in rows["samples"] for sample in text.split()}
        for split, rows in table.groupby("split")
    }
    assert samples["test"]
    assert samples["test"].isdisjoint(samples["train"] | samples["valid"])
    groups = {split: set(rows["group"]) for split, rows in table.groupby("split")}
    assert groups["test"].isdisjoint(groups["train"] | groups["valid"])


def test_every_family_has_clips_in_every_split(corpus):
    _, table = corpus
    counts = pd.crosstab(table["label"], table["split"])
    assert len(counts) == 11
    assert (counts[["train", "valid", "test"]] > 0).all(axis=None)
    assert 0.2 < (table["split"] == "test").mean() < 0.35


def test_no_two_clips_are_the_same_sound(corpus):
    folder, table = corpus
    assert len(set(contents(folder).values())) == len(table)
    assert not table.duplicated(["programme", "pitch"]).any()


def test_a_second_call_renders_nothing_and_returns_the_same(corpus, rendered):
    folder, table = corpus
    again = render_demo_corpus(folder, **SMALL)
    pd.testing.assert_frame_equal(again, table)
    assert again.attrs["left_out"] == table.attrs["left_out"] == []
    assert rendered == []


def test_two_processes_render_the_same_files(corpus, tmp_path):
    folder, table = corpus
    again = render_demo_corpus(tmp_path / "new", **SMALL | {"n_jobs": 2})
    pd.testing.assert_frame_equal(again, table)
    assert contents(tmp_path / "new") == contents(folder)
    assert (tmp_path / "new/labels.csv").read_bytes() == (folder / "labels.csv").read_bytes()


def test_missing_files_alone_are_rendered_again(corpus, copy, rendered):
    folder, table = corpus
    gone = [copy / path for path in table["path"][:3]]
    for path in gone:
        path.unlink()
    again = render_demo_corpus(copy, **SMALL)
    silent = {tuple(pair) for pair in json.loads((copy / "corpus.json").read_text())["silent"]}
    assert set(gone) <= set(rendered)
    assert len(rendered) == len(gone) + len(silent)
    pd.testing.assert_frame_equal(again, table)
    assert contents(copy) == contents(folder)


def test_an_interrupted_rendering_is_resumed(corpus, tmp_path, monkeypatch):
    folder, table = corpus
    done = []

    def interrupted(path, *arguments):
        if len(done) == 40:
            path.with_name(f".{path.stem}.1.tmp").write_bytes(b"half a file")
            raise KeyboardInterrupt
        done.append(path)
        return write_note(path, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(demo_corpus, "write_note", interrupted)
        with pytest.raises(KeyboardInterrupt):
            render_demo_corpus(tmp_path / "new", **SMALL)
    assert not (tmp_path / "new/labels.csv").exists()
    kept = {path: path.stat().st_mtime_ns for path in done if path.exists()}
    pd.testing.assert_frame_equal(render_demo_corpus(tmp_path / "new", **SMALL), table)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert contents(tmp_path / "new") == contents(folder)


def test_other_settings_rebuild_the_corpus(copy):
    shorter = render_demo_corpus(copy, **SMALL | {"seconds": 0.2})
    waveform, rate = soundfile.read(copy / shorter["path"][0])
    assert len(waveform) == round(0.2 * rate)
    assert {f"audio/{name}" for name in contents(copy)} == set(shorter["path"])


def test_a_folder_of_something_else_is_refused_and_left_alone(corpus, tmp_path):
    (tmp_path / "labels.csv").write_text("path,label\n")
    with pytest.raises(FileExistsError, match="needs a folder of its own"):
        render_demo_corpus(tmp_path, **SMALL)
    assert [item.name for item in tmp_path.iterdir()] == ["labels.csv"]


def test_a_folder_that_cannot_be_written_is_named(corpus, tmp_path, monkeypatch):
    def full(path, *arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(demo_corpus, "write_note", full)
    with pytest.raises(OSError, match=r"No space left.*full.*make room") as caught:
        render_demo_corpus(tmp_path / "full", **SMALL)
    assert caught.value.errno == 28


def test_the_card_names_source_licence_counts_and_what_is_left_out(corpus):
    folder, table = corpus
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "TimGM6mb" in card
    assert "GNU General Public License, version 2" in card
    assert "86 programmes" in card
    assert "47 groups" in card
    totals = table["split"].value_counts()
    assert f"| all | {totals['train']} | {totals['valid']} | {totals['test']} |" in card


@pytest.mark.parametrize("missing", ["midirenderer", "pretty_midi"])
def test_without_the_extra_the_error_says_what_to_install(missing, monkeypatch, tmp_path):
    if missing == "pretty_midi":
        pytest.importorskip("midirenderer")
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    else:
        monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(DemoUnavailableError) as caught:
        render_demo_corpus(tmp_path / "demo", **SMALL)
    message = str(caught.value)
    assert missing in message
    assert 'pip install "unfused[demo]"' in message
    assert "make unfused DATA=<folder>" in message
    assert not (tmp_path / "demo").exists()


def test_a_note_sounds_its_pitch_and_decays_after_the_release(corpus):
    waveform, rate = render_note(find_soundfont(), 80, 69, 100, 1.0)  # a square wave at 440 Hz
    spectrum = np.abs(np.fft.rfft(waveform[: rate // 2].astype(float)))  # 2 Hz a bin
    assert abs(2 * int(np.argmax(spectrum)) - 440) <= 4
    level = np.abs(waveform.astype(float))
    assert level[int(0.95 * rate) :].mean() < 0.2 * level[int(0.4 * rate) : int(0.7 * rate)].mean()


def test_a_silent_note_is_reported_and_not_written(corpus, tmp_path):
    # The bari-saxophone of TimGM6mb ends at pitch 79.
    assert write_note(tmp_path / "a.flac", find_soundfont(), 67, 79, 100, 0.3)
    assert not write_note(tmp_path / "b.flac", find_soundfont(), 67, 80, 100, 0.3)
    assert [path.name for path in tmp_path.iterdir()] == ["a.flac"]


def test_midi_bytes_worked_out_by_hand():
    assert [variable_length(n).hex() for n in (0, 127, 128, 16384)] == [
        "00",
        "7f",
        "8100",
        "818000",
    ]
    expected = (
        "4d546864 00000006 0000 0001 01f4"  # header: format 0, one track, 500 ticks a quarter
        "4d54726b 00000011"  # the track and its 17 bytes
        "00 c028"  # at once: programme 40
        "00 903c64"  # at once: key 60 down, velocity 100
        "856e 803c00"  # after 5 * 128 + 110 = 750 ms: key 60 up
        "817a ff2f00"  # after 1 * 128 + 122 = 250 ms: end
    )
    assert midi_note(40, 60, 100, 1.0) == bytes.fromhex(expected)
