"""Predictions as label tracks."""

import pandas as pd
import pytest

from unfused.data.annotations import read_track
from unfused.inference.label_tracks import label_tracks, merged

SAID = pd.DataFrame(
    [
        ("/a/june/night.wav", 0.0, 1.0, "wren", 0.5), ("/a/june/night.wav", 1.0, 2.0, "wren", 0.9),
        ("/a/june/night.wav", 2.0, 3.0, "owl", 0.7), ("/a/june/night.wav", 4.0, 5.0, "owl", 0.6),
        ("/a/july/night.wav", 0.0, 1.0, "a\tb", 0.8),
    ],
    columns=["path", "start_seconds", "end_seconds", "label", "probability"],
).assign(unknown=False)  # fmt: skip


def test_neighbours_of_one_label_are_one():
    rows = merged(SAID).drop(columns="path").to_numpy().tolist()
    assert rows == [
        [0.0, 2.0, "wren", 0.9], [2.0, 3.0, "owl", 0.7], [4.0, 5.0, "owl", 0.6],
        [0.0, 1.0, "a\tb", 0.8],
    ]  # fmt: skip


@pytest.mark.parametrize(("form", "ending"), [("audacity", ""), ("raven", ".selections")])
def test_what_is_written_is_read(tmp_path, form, ending):
    tracks = label_tracks(SAID, form)
    assert list(tracks) == [f"june/night{ending}", f"july/night{ending}"]
    file = tmp_path / "night.txt"
    file.write_text(tracks[f"june/night{ending}"])
    track = read_track(file)
    assert track["label"].tolist() == ["wren", "owl", "owl"]
    assert track["start"].astype(float).tolist() == [0, 2, 4]
    assert track["end"].astype(float).tolist() == [2, 3, 5]
    file.write_text(tracks[f"july/night{ending}"])
    assert read_track(file)["label"].tolist() == ["a b"]


def test_two_recordings_of_one_name_have_two_tracks():
    said = SAID.assign(path=["/a/x.wav"] * 4 + ["/a/x.mp3"])
    assert list(label_tracks(said, "audacity")) == ["x", "x.mp3"]
    said = SAID.assign(path=["/a/x.wav"] * 3 + ["/a/x", "/a/x.mp3"])
    assert list(label_tracks(said, "audacity")) == ["x", "x-2", "x.mp3"]


def test_a_class_may_be_called_unknown():
    said = SAID.assign(label="unknown", unknown=[True, True, False, False, False])
    assert label_tracks(said, "audacity")["june/night"].count("unknown") == 2
