"""The multi-label demo: mixtures of notes."""

import json

import numpy as np
import pandas as pd
import pytest
import soundfile

from unfused.demo.mixtures import render_mixtures


@pytest.fixture
def notes(tmp_path):
    """Twelve notes of four families in three parts, each a tone of its own pitch."""
    folder = tmp_path / "notes"
    folder.mkdir()
    rows = []
    for number, split in enumerate(["train", "valid", "test"]):
        for place, family in enumerate(["brass", "guitar", "organ", "reed"]):
            name = f"{split}-{family}.flac"
            pitch = 200 + 100 * (4 * number + place)
            tone = 0.5 * np.sin(2 * np.pi * pitch * np.arange(1600) / 16000)
            soundfile.write(folder / name, tone, 16000)
            rows.append({"path": name, "label": family, "split": split, "pitch": pitch})
    rows.append({"path": "none.flac", "label": "", "split": "train", "pitch": 0})
    pd.DataFrame(rows).to_csv(folder / "labels.csv", index=False)
    (folder / "corpus.json").write_text(json.dumps({"made_from": 1}))
    return folder


def test_a_clip_is_one_to_three_instruments_of_its_part(tmp_path, notes):
    folder = render_mixtures(tmp_path / "mixtures", notes, n=60)
    table = pd.read_csv(folder / "labels.csv")
    assert list(table) == ["path", "start_seconds", "end_seconds", "positive_labels", "split"]
    sizes = table["positive_labels"].str.split(",").map(len)
    assert set(sizes) == {1, 2, 3}
    assert table["split"].value_counts().to_dict() == {"train": 20, "valid": 20, "test": 20}
    pitch_of = pd.read_csv(notes / "labels.csv").set_index(["split", "label"])["pitch"]
    for _, row in table.iterrows():
        audio, rate = soundfile.read(folder / row["path"])
        assert len(audio) == 3200
        assert row["end_seconds"] == 0.2
        spectrum = np.abs(np.fft.rfft(audio))
        loud = {round(k * rate / 3200 / 100) * 100 for k in np.flatnonzero(spectrum > 60)}
        expected = {pitch_of[row["split"], name] for name in row["positive_labels"].split(",")}
        assert expected <= loud


def test_what_is_there_is_left_alone_and_what_is_not_is_made_again(tmp_path, notes):
    folder = render_mixtures(tmp_path / "mixtures", notes, n=6)
    first = {file.name: file.read_bytes() for file in folder.glob("audio/*")}
    stamps = {file.name: file.stat().st_mtime_ns for file in folder.glob("audio/*")}
    render_mixtures(folder, notes, n=6)
    assert stamps == {file.name: file.stat().st_mtime_ns for file in folder.glob("audio/*")}
    (folder / "labels.csv").unlink()
    render_mixtures(folder, notes, n=6)
    assert first == {file.name: file.read_bytes() for file in folder.glob("audio/*")}
    render_mixtures(folder, notes, n=6, seed=1)
    assert first != {file.name: file.read_bytes() for file in folder.glob("audio/*")}


def test_too_few_families_are_refused(tmp_path, notes):
    table = pd.read_csv(notes / "labels.csv")
    table[table["label"].isin(["brass", "reed"])].to_csv(notes / "labels.csv", index=False)
    with pytest.raises(ValueError, match="2 families"):
        render_mixtures(tmp_path / "mixtures", notes, n=6)
    with pytest.raises(ValueError, match="at least 1"):
        render_mixtures(tmp_path / "mixtures", notes, n=0)
