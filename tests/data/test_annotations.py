"""Pieces of recordings: start and end in seconds, label tracks, windows of long ones."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from unfused.core.errors import UserError
from unfused.data.annotations import read_track
from unfused.data.manifest import ManifestError, scan_audio

RAVEN = (
    "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tAnnotation\n"
    "1\tSpectrogram 1\t1\t0.5\t1.5\t100\twren\n"
    "2\tSpectrogram 1\t1\t2.0\t2.75\t100\towl\n"
)
AUDACITY = "0,500000\t1,500000\twren\n\\\t100.0\t900.0\n2.0\t2.75\towl\n"


@pytest.fixture
def recording(tmp_path):
    """Write ten seconds of noise at 8 kHz; return its path."""

    def write(name="night.wav", seconds=10.0):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True, parents=True)
        soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, int(8000 * seconds)), 8000)
        return path

    return write


def pieces(clips):
    return [tuple(row) for row in clips[["offset", "frames", "label"]].to_numpy()]


WREN_AND_OWL = [(4000, 8000, "wren"), (16000, 6000, "owl")]


@pytest.mark.parametrize("columns", [
    ("path", "start", "end", "label"),
    ("filename", "onset", "offset", "event_label"),  # DCASE
    ("File", "Start (s)", "End (s)", "Common name"),  # BirdNET
    ("Begin Path", "Begin Time (s)", "End Time (s)", "Species"),  # Raven, one table for all
])  # fmt: skip
def test_start_and_end_in_seconds(recording, tmp_path, columns):
    rows = [(recording().name, 0.5, 1.5, "wren"), ("night.wav", 2, 2.75, "owl")]
    pd.DataFrame(rows, columns=columns).to_csv(tmp_path / "clips.csv", index=False)
    clips, rejected = scan_audio(tmp_path / "clips.csv", corpus="nights")
    assert pieces(clips) == WREN_AND_OWL
    assert rejected.empty


@pytest.mark.parametrize(("start", "end", "words"), [
    ("1", "11", "beyond the file's 10 s"), ("3", "2", "not before"), ("3", "3", "not before"),
    ("-1", "2", "no number of seconds"), ("12:30", "2", "columns={'start': null}"),
    ("nan", "2", "no number"), ("1", "inf", "no number"),
])  # fmt: skip
def test_bad_times_are_rejected_with_the_reason(recording, tmp_path, start, end, words):
    recording()
    lines = ["path,start,end,label", "night.wav,0,1,a", "night.wav,1,2,b"]
    (tmp_path / "clips.csv").write_text("\n".join([*lines, f"night.wav,{start},{end},a"]))
    clips, rejected = scan_audio(tmp_path / "clips.csv", corpus="nights")
    assert len(clips) == 2
    assert words in rejected["reason"].item()


def test_an_annotation_may_end_a_little_after_its_file(recording, tmp_path):
    recording()
    text = "path,start,end,label\nnight.wav,9,10.05,a\nnight.wav,,1,b\n"
    (tmp_path / "clips.csv").write_text(text)
    clips, _ = scan_audio(tmp_path / "clips.csv", corpus="nights")
    assert pieces(clips) == [(72000, 8000, "a"), (0, 8000, "b")]


def test_columns_of_other_meaning_are_switched_off(recording, tmp_path):
    rows = [(recording().name, "monday", "a"), (recording("day.wav").name, "friday", "b")]
    table = pd.DataFrame(rows, columns=["path", "start", "label"])
    table.to_csv(tmp_path / "clips.csv", index=False)
    clips, _ = scan_audio(tmp_path / "clips.csv", corpus="c", columns={"start": None})
    assert pieces(clips) == [(0, 80000, "a"), (0, 80000, "b")]


@pytest.mark.parametrize(("name", "text"), [
    ("night.txt", AUDACITY), ("night.Table.1.selections.txt", RAVEN),
])  # fmt: skip
def test_label_tracks_beside_recordings(recording, tmp_path, name, text):
    folder = recording("june/night.wav").parent
    (folder / name).write_text(text)
    (folder / "notes.txt").write_text("It rained.")
    recording("june/day.wav")
    clips, rejected = scan_audio(tmp_path, corpus="nights")
    assert rejected.empty
    named = clips[clips["path"].str.endswith("night.wav")]
    assert pieces(named) == WREN_AND_OWL
    assert clips["label"].isna().sum() == 1


def test_text_files_that_are_no_tracks_change_nothing(recording, tmp_path):
    for label in ("a", "b"):
        path = recording(f"{label}/night.wav")
        path.with_suffix(".txt").write_text("It rained.")
    clips, _ = scan_audio(tmp_path, corpus="nights")
    assert list(clips["label"]) == ["a", "b"]
    assert read_track(path.with_suffix(".txt")) is None


def test_a_broken_line_of_a_track_is_named(recording):
    track = recording().with_suffix(".txt")
    track.write_text(AUDACITY + "3.0 4.0 owl\n")
    with pytest.raises(ManifestError, match=r"3\.0 4\.0 owl"):
        read_track(track)


def test_long_recordings_without_a_label_become_windows(recording, tmp_path):
    recording("long.wav", 11.0)
    recording("short.wav", 5.9)
    clips, rejected = scan_audio(
        tmp_path, corpus="pool", labels="none", max_seconds=6, window_seconds=2
    )
    assert rejected.empty
    by_file = clips.groupby(clips["path"].str.split("/").str[-1])
    assert list(by_file.get_group("long.wav")["duration"]) == [2, 2, 2, 2, 3]
    assert list(by_file.get_group("short.wav")["duration"]) == [5.9]
    assert clips["clip_id"].is_unique


def test_labelled_recordings_stay_whole(recording, tmp_path):
    for label in ("a", "b"):
        recording(f"{label}/{label}.wav")
    clips, _ = scan_audio(tmp_path, corpus="c", window_seconds=1)
    assert list(clips["duration"]) == [10, 10]


def test_a_track_of_two_recordings_is_refused(recording, tmp_path):
    for name in ("night.wav", "night.flac"):
        recording(name)
    (tmp_path / "night.txt").write_text(AUDACITY)
    with pytest.raises(ManifestError, match=r"night\.txt may be .*night\.(wav|flac)"):
        scan_audio(tmp_path, corpus="nights")


def test_two_tracks_of_one_recording_count(recording, tmp_path):
    path = recording()
    path.with_suffix(".txt").write_text("0\t1\twren\n1\t2\towl\n")
    (tmp_path / "night.second.txt").write_text("3\t4\ta\u0308\n1\t2\towl\n")
    clips, rejected = scan_audio(tmp_path, corpus="nights")
    assert sorted(clips["label"]) == ["owl", "wren", "ä"]
    assert rejected.empty


def test_tracks_keep_the_split_of_their_folders(recording, tmp_path):
    for part in ("train", "test"):
        for index in range(2):
            track = recording(f"{part}/{index}.wav").with_suffix(".txt")
            track.write_text("0\t1\twren\n1\t2\towl\n")
    clips, _ = scan_audio(tmp_path, corpus="nights")
    assert clips["split"].value_counts().to_dict() == {"train": 4, "test": 4}


@pytest.mark.parametrize(("labels", "found"), [
    ("folders", {"dog": 2, "cat": 2}), ("tracks", {"bark": 1, "howl": 1}),
])  # fmt: skip
def test_a_track_among_class_folders_is_no_guess(recording, tmp_path, labels, found):
    for name in ("dog/0.wav", "dog/1.wav", "cat/0.wav", "cat/1.wav"):
        recording(name)
    (tmp_path / "dog" / "0.txt").write_text("0\t1\tbark\n1\t2\thowl\n")
    with pytest.raises(ManifestError, match="labels='folders'"):
        scan_audio(tmp_path, corpus="animals")
    clips, _ = scan_audio(tmp_path, corpus="animals", labels=labels)
    assert clips["label"].value_counts().to_dict() == found


def test_a_first_line_that_is_malformed_does_not_hide_a_track(recording):
    track = recording().with_suffix(".txt")
    track.write_text("-0.1\t1\ta\n1\t2\tb\n")
    with pytest.raises(ManifestError, match=r"-0\.1"):
        read_track(track)


def test_ravens_times_over_several_files(recording, tmp_path):
    recording("a.wav")
    recording("b.wav")
    rows = [("a.wav", 2, 3, 2, "wren"), ("b.wav", 11, 12.5, 1, "owl")]
    columns = ["Begin File", "Begin Time (s)", "End Time (s)", "File Offset (s)", "Annotation"]
    pd.DataFrame(rows, columns=columns).to_csv(tmp_path / "all.txt", sep="\t", index=False)
    clips, _ = scan_audio(tmp_path / "all.txt", corpus="nights")
    assert pieces(clips) == [(16000, 8000, "wren"), (8000, 12000, "owl")]


def test_labels_given_since(recording, tmp_path):
    """They count for clips that had none, which keep their part and group."""
    for name in ("a", "b", "c"):
        recording(f"{name}.wav")
    lines = ["path,species,split,group", "a.wav,x,train,1", "b.wav,y,train,1", "c.wav,,test,2"]
    (tmp_path / "clips.csv").write_text("\n".join(lines))
    (tmp_path / "new.csv").write_text("path,start,end,label\nc.wav,0.0,,y\nc.wav,1,2,x\n")
    known = {"corpus": "c", "columns": {"label": "species"}}
    before, _ = scan_audio(tmp_path / "clips.csv", **known)
    after, rejected = scan_audio(
        tmp_path / "clips.csv", labelled_since=tmp_path / "new.csv", **known
    )
    assert rejected.empty
    assert after["label"].tolist() == ["x", "y", "y", "x"]
    assert after["split"].tolist()[:3] == ["train", "train", "test"]
    assert after["group"].tolist()[:3] == ["1", "1", "2"]
    assert set(before["clip_id"][:2]) < set(after["clip_id"])  # their log-mels stay


DOG, CAT = (
    {"start": at, "end": at + 2, "labels": [name]} for at, name in ((1, "dog"), (5.5, "cat"))
)
UPLOADED, IN_FOLDER = "/data/upload/7/0123abcd-night.wav", "/data/local-files/?d=field%2Fnight.wav"


def annotated(*results, **more):
    return {"annotations": [{"result": [{"value": value} for value in results], **more}]}


@pytest.mark.parametrize("audio", [UPLOADED, IN_FOLDER, "night.wav"])
@pytest.mark.parametrize("form", ["JSON", "JSON-MIN"])
def test_exports_of_label_studio(recording, tmp_path, form, audio):
    folder = recording("field/night.wav", 10).parent
    recording("field/quiet.wav", 10)
    if form == "JSON":
        cancelled = annotated({**DOG, "start": 0}, was_cancelled=True)["annotations"]
        loud = annotated({"choices": ["whole"]}, DOG, CAT, {"text": ["a comment"]})
        tasks = [{"data": {"audio": audio}, "annotations": loud["annotations"] + cancelled}]
        tasks += [{"data": {"audio": "quiet.wav"}, **annotated()}]
    else:
        tasks = [{"audio": audio, "label": [DOG, CAT]}, {"audio": "quiet.wav", "id": 2}]
    export = folder.parent / "project-7.json"
    export.write_text(json.dumps(tasks))
    clips, rejected = scan_audio(export, corpus="a", labels="table")
    assert rejected.empty
    assert pieces(clips)[:2] == [(8000, 16000, "dog"), (44000, 16000, "cat")]
    assert clips["label"].isna().tolist() == [False, False, True]
    assert [Path(path).name for path in clips["path"]] == ["night.wav", "night.wav", "quiet.wav"]


def test_labels_of_whole_recordings_from_label_studio(recording, tmp_path):
    tasks = []
    for name, label in (("a.wav", "dog"), ("b.wav", "cat")):
        recording(name, 1)
        tasks.append({"data": {"audio": name}, **annotated({"choices": [label]})})
    export = tmp_path / "export.json"
    export.write_text(json.dumps(tasks))
    assert list(scan_audio(export, corpus="a")[0]["label"]) == ["dog", "cat"]
    export.write_text(json.dumps([{"audio": t["data"]["audio"], "choice": "dog"} for t in tasks]))
    with pytest.raises(ManifestError, match="only one class: dog"):
        scan_audio(export, corpus="a")


def test_recordings_of_one_name_in_two_folders(recording, tmp_path):
    for folder in ("birds", "frogs"):
        recording(f"{folder}/a.wav", 1 if folder == "birds" else 2)
    export = tmp_path / "export.json"
    tasks = [
        {"data": {"audio": f"/data/local-files/?d=field%2F{name}%2Fa.wav"},
         **annotated({"choices": [name]}, {"no": "value"})}
        for name in ("birds", "frogs")
    ]  # fmt: skip
    tasks[0]["annotations"][0]["result"].append({"type": "relation", "from_id": "x"})
    export.write_text(json.dumps(tasks))
    clips, rejected = scan_audio(export, corpus="a")
    assert rejected.empty
    assert clips["frames"].tolist() == [8000, 16000]
    assert clips["label"].tolist() == ["birds", "frogs"]
    export.write_text(json.dumps([{"data": {"audio": UPLOADED.replace("night", "a")}}]))
    with pytest.raises(UserError, match=r"may be .*birds.* or .*frogs"):
        scan_audio(export, corpus="a", labels="none")


def test_a_labelling_of_any_name_in_json_min(recording, tmp_path):
    for name in ("a.wav", "b.wav"):
        recording(name, 1)
    export = tmp_path / "export.json"
    tasks = [
        {"audio": "a.wav", "noise_kind": "hum", "speaker": "me", "id": 1},
        {"audio": "b.wav", "noise_kind": {"choices": ["hiss"]}, "speaker": "you", "id": 2},
    ]
    export.write_text(json.dumps(tasks))
    clips, _ = scan_audio(export, corpus="a", columns={"label": "noise_kind"})
    assert clips["label"].tolist() == ["hum", "hiss"]
    with pytest.raises(UserError, match=r"no task of .* has 'kind', only"):
        scan_audio(export, corpus="a", columns={"label": "kind"})


@pytest.mark.parametrize("text", ["{}", "[1]", '[{"text": "a"}]', "[", '{"a": [1]}', "null"])
def test_other_json_is_refused(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(UserError, match=r"Label Studio|no rows"):
        scan_audio(tmp_path / "a.json", corpus="a")
