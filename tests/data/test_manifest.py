from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile as sf

from unfused.data.manifest import MANIFEST_TYPES, REJECTED_TYPES, check_classes, scan_audio
from unfused.data.table import ManifestError

Write = Callable[..., Path]


@pytest.fixture
def corpus(write: Write) -> Path:
    """Two classes of two clips and two unlabelled clips."""
    for i, name in enumerate(["cat/a.wav", "cat/b.flac", "dog/a.wav", "dog/b.ogg"]):
        write(name, seed=i)
    write("unlabelled/x.wav", seed=5)
    return write("Unlabeled/y.wav", seed=6).parents[1]


def reasons(rejected: pd.DataFrame) -> dict[str, str]:
    return {
        Path(path).name: reason
        for path, reason in zip(rejected["path"], rejected["reason"], strict=True)
    }


def test_folders_are_classes(corpus: Path) -> None:
    manifest, rejected = scan_audio(corpus, corpus="pets")
    assert list(manifest.columns) == list(MANIFEST_TYPES)
    assert list(rejected.columns) == list(REJECTED_TYPES)
    assert rejected.empty
    assert manifest["label"].value_counts().to_dict() == {"cat": 2, "dog": 2}
    assert manifest["label"].isna().sum() == 2
    assert manifest["clip_id"].is_unique
    assert (manifest["duration"] == 0.5).all()
    assert all(Path(path).is_absolute() for path in manifest["path"])
    again, _ = scan_audio(corpus, corpus="pets")
    pd.testing.assert_frame_equal(manifest, again)


def test_ids_survive_a_move_and_follow_the_content(corpus: Path) -> None:
    manifest, _ = scan_audio(corpus, corpus="pets")
    moved = corpus.rename(corpus.with_name("moved here"))
    again, _ = scan_audio(moved, corpus="pets")
    assert again["clip_id"].tolist() == manifest["clip_id"].tolist()
    sf.write(moved / "cat" / "a.wav", np.full(8000, 0.1), 16000)
    changed, _ = scan_audio(moved, corpus="pets")
    assert (changed["clip_id"] != manifest["clip_id"]).sum() == 1


def test_labels_none_and_plain_folders(corpus: Path, write: Write) -> None:
    manifest, _ = scan_audio(corpus, corpus="pets", labels="none")
    assert manifest["label"].isna().all()
    only, _ = scan_audio(corpus / "cat", corpus="cats")
    assert only["label"].isna().all()
    assert len(only) == 2
    both, _ = scan_audio([corpus / "cat", corpus / "dog"], corpus="two", labels="none")
    assert len(both) == 4


def test_split_folders_are_splits(write: Write) -> None:
    for split in ("train", "val", "test"):
        for label in ("yes", "no"):
            root = write(f"{split}/{label}/{split}{label}.wav", seed=len(split + label))
    manifest, _ = scan_audio(root.parents[2], corpus="words")
    assert set(manifest["split"]) == {"train", "valid", "test"}
    assert set(manifest["label"]) == {"yes", "no"}


def test_an_unlabelled_folder_may_stand_beside_the_split(write: Write) -> None:
    for split in ("train", "test"):
        for label in ("yes", "no"):
            root = write(f"{split}/{label}/a.wav", seed=len(split + label)).parents[2]
    write("Unlabelled/deeper/x.wav", seed=9)
    manifest, _ = scan_audio(root, corpus="words")
    assert set(manifest["label"].dropna()) == {"yes", "no"}
    unlabelled = manifest[manifest["label"].isna()]
    assert len(unlabelled) == 1
    assert unlabelled["split"].isna().all()


def test_split_folders_beside_classes_are_refused(write: Write) -> None:
    write("train/yes/a.wav")
    root = write("dog/b.wav", seed=1).parents[1]
    manifest, _ = scan_audio(root, corpus="words")  # "train" is a class like any other
    assert set(manifest["label"]) == {"train", "dog"}
    write("test/yes/c.wav", seed=2)
    with pytest.raises(ManifestError, match=r"'test', 'train'.*'dog'.*move these"):
        scan_audio(root, corpus="words")
    assert len(scan_audio(root, corpus="words", labels="none")[0]) == 3


def test_one_class_is_an_error_one_clip_a_warning(
    write: Write, caplog: pytest.LogCaptureFixture
) -> None:
    write("cat/a.wav")
    root = write("unlabelled/b.wav", seed=1).parents[1]
    with pytest.raises(ManifestError, match="only one class: cat"):
        scan_audio(root, corpus="pets")
    write("dog/c.wav", seed=2)
    manifest, _ = scan_audio(root, corpus="pets")
    assert manifest["label"].nunique() == 2
    assert "cat (1), dog (1)" in caplog.text


@pytest.mark.parametrize("where", ["meta/clips.csv", "clips.csv"])
def test_audio_may_lie_in_a_folder_audio(write: Write, where: str) -> None:
    root = write("audio/a.wav").parents[1]
    write("audio/b.wav", seed=1)
    table = root / where
    table.parent.mkdir(exist_ok=True)
    table.write_text("filename,category\na.wav,dog\nb.wav,cat\n")
    manifest, rejected = scan_audio(table, corpus="esc")
    assert list(manifest["label"]) == ["dog", "cat"]
    assert rejected.empty


def test_a_table_beside_one_folder_of_audio_is_named(
    write: Write, caplog: pytest.LogCaptureFixture
) -> None:
    root = write("audio/a.wav").parents[1]
    (root / "clips.csv").write_text("filename,category\na.wav,dog\n")
    scan_audio(root, corpus="esc")
    assert "clips.csv" in caplog.text


def test_labels_in_the_names_of_files(write: Write) -> None:
    for number, name in enumerate(("7_jackson_0", "7_theo_1", "3_theo_0", "noise")):
        root = write(f"part/{name}.wav", seed=number).parents[1]
    manifest, _ = scan_audio(root, corpus="a", labels=r"(?P<label>\d)_(?P<group>[a-z]+)_\d+\.wav$")
    found = manifest[["label", "group"]].astype(object).where(manifest["label"].notna(), None)
    assert found.to_numpy().tolist() == [
        ["3", "theo"], ["7", "jackson"], ["7", "theo"], [None, None],
    ]  # fmt: skip
    with pytest.raises(ManifestError, match=r"is found in no name, such as 'part/3_theo_0.wav'"):
        scan_audio(root, corpus="a", labels="(?P<label>[A-Z]+)_")


def test_a_letter_is_one_however_a_file_system_spells_it(write: Write) -> None:
    for number, name in enumerate(("caf\u00e9_1", "cafe\u0301_2", "bar_3")):
        root = write(f"{name}.wav", seed=number).parent
    manifest, _ = scan_audio(root, corpus="a", labels=r"(?P<label>\D+)_")
    assert manifest["label"].tolist().count("caf\u00e9") == 2


def test_a_pattern_is_for_folders_and_spares_the_unlabelled(write: Write) -> None:
    write("unlabelled/7_dog.wav", seed=2)
    for number, name in enumerate(("1_dog", "2_cat")):
        root = write(f"{name}.wav", seed=number).parent
    manifest, _ = scan_audio(root, corpus="a", labels="_(?P<label>[a-z]+)")
    assert manifest["label"].notna().tolist() == [True, True, False]
    (root / "clips.csv").write_text("path\n1_dog.wav\n")
    with pytest.raises(ManifestError, match=r"clips.csv is a table"):
        scan_audio(root / "clips.csv", corpus="a", labels="_(?P<label>[a-z]+)")


def test_clips_keep_their_names_where_the_data_move(write: Write, tmp_path: Path) -> None:
    root = write("audio/a.wav").parents[1]
    (root / "meta").mkdir()
    (root / "meta/clips.csv").write_text("path\na.wav\n")
    before, _ = scan_audio(root / "meta/clips.csv", corpus="a")
    after, _ = scan_audio(root.rename(tmp_path / "moved") / "meta/clips.csv", corpus="a")
    assert before["clip_id"].tolist() == after["clip_id"].tolist()


@pytest.mark.parametrize("labels", ["foldrs", "(?P<label>", "(?P<group>a)", "(?P<label>a)(?P<x>b)"])
def test_a_pattern_without_a_label_is_refused(write: Write, labels: str) -> None:
    with pytest.raises(ManifestError, match=r"must be one of .* or a regular expression"):
        scan_audio(write("a.wav").parent, corpus="a", labels=labels)


def test_every_bad_file_is_listed_with_its_reason(write: Write, tmp_path: Path) -> None:
    root = write("good.wav").parent
    (root / "empty.wav").touch()
    (root / "text.wav").write_text("no audio")
    (root / "strange.xyz").write_text("no audio either")
    (root / "notes.txt").write_text("ignored")
    (root / ".hidden.wav").write_text("ignored")
    sf.write(root / "zero.wav", np.empty(0), 16000)
    sf.write(root / "one.wav", np.array([0.5]), 16000)
    data = (root / "good.wav").read_bytes()
    (root / "cut.wav").write_bytes(data[:-1000])
    (root / "none.wav").write_bytes(data[:22] + bytes(2) + data[24:])
    (root / "dangling.wav").symlink_to(root / "gone.wav")
    write("long.wav", 3.0)
    write("flac.mp3", format="FLAC")
    manifest, rejected = scan_audio(root, corpus="bad", max_seconds=2.0)
    assert [Path(path).name for path in manifest["path"]] == ["flac.mp3", "good.wav"]
    found = reasons(rejected)
    expected = {
        "empty.wav": "empty file",
        "text.wav": "unreadable",
        "strange.xyz": "unreadable",
        "zero.wav": "zero length",
        "one.wav": "shorter than min_seconds=0.01",
        "cut.wav": "truncated: the file ends 1000 bytes early",
        "none.wav": "hannel",
        "dangling.wav": "file not found",
        "long.wav": "3 s is longer than max_seconds=2.0",
    }
    assert set(found) == set(expected)
    assert all(words in found[name] for name, words in expected.items())
    assert set(rejected["stage"]) == {"scan"}


def test_a_header_that_claims_years_is_rejected(write: Write) -> None:
    path = write("claims.flac")
    data = bytearray(path.read_bytes())
    data[21:26] = bytes([data[21] | 0x0F, 0xFF, 0xFF, 0xFF, 0xFF])  # STREAMINFO's total samples
    path.write_bytes(data)
    write("good.wav")
    manifest, rejected = scan_audio(path.parent, corpus="claims")
    assert len(manifest) == 1
    assert "longer than max_seconds" in rejected["reason"].item()


@pytest.mark.parametrize(
    ("encoding", "separator"),
    [("utf-8", ","), ("utf-8-sig", ","), ("utf-16", "\t"), ("cp1252", ";"), ("utf-8-sig", "|")],
)
def test_tables_of_any_encoding(write: Write, encoding: str, separator: str) -> None:
    first, second = write("ünï côdé/a b.wav"), write("b.flac", seed=1)
    rows = [["path", "label", "speaker"], ["ünï côdé/a b.wav", "01", "é"], [str(second), "1", "f"]]
    table = first.parents[1] / "list.csv"
    table.write_bytes("\r\n".join(separator.join(row) for row in rows).encode(encoding))
    manifest, rejected = scan_audio(table, corpus="t", columns={"group": "speaker"})
    assert rejected.empty
    assert manifest["path"].tolist() == [str(first), str(second)]
    assert manifest["label"].tolist() == ["01", "1"]
    assert manifest["group"].tolist() == ["é", "f"]


def test_parquet_and_a_folder_with_a_table(write: Write) -> None:
    root = write("a.wav").parent
    write("b.wav", seed=1)
    frame = pd.DataFrame({"path": ["a.wav", "b.wav"], "label": [0, 1], "fold": [1.0, 2.0]})
    frame.to_parquet(root / "list.parquet")
    frame.to_csv(root / "labels.csv", index=False)
    from_parquet, _ = scan_audio(root / "list.parquet", corpus="t")
    assert from_parquet["label"].tolist() == ["0", "1"]
    assert from_parquet["fold"].tolist() == [1, 2]
    frame.assign(fold=[1, 2]).to_csv(root / "labels.csv", index=False)
    from_folder, _ = scan_audio(root, corpus="t")
    pd.testing.assert_frame_equal(from_parquet, from_folder)


def test_duplicates_missing_files_and_segments(write: Write) -> None:
    root = write("a.wav", 1.0).parent
    (root / "list.csv").write_text(
        "path,label,offset,frames\n"
        "a.wav,x,,\n"
        "./a.wav,x,0,16000\n"  # the same clip in other words
        "a.wav,y,,\n"  # and with another label
        "a.wav,,,\n"  # or with none
        "a.wav,y,0,8000\n"
        "a.wav,y,8000,8000\n"
        "a.wav,y,8000,8001\n"
        "a.wav,y,-5,10\n"
        "a.wav,y,8000.0,4000.0\n"  # as pandas writes whole numbers where some are missing
        "a.wav,y,99999999999999999999999,1\n"
        "gone.wav,y,,\n"
        ",y,,\n"
    )
    manifest, rejected = scan_audio(root / "list.csv", corpus="t")
    assert manifest[["offset", "frames"]].to_numpy().tolist() == [
        [0, 16000],
        [0, 8000],
        [8000, 8000],
        [8000, 4000],
    ]
    assert manifest["clip_id"].is_unique
    expected = [
        "duplicate",
        "another label: 'x', this one 'y'",
        "duplicate",
        "not within",
        "not a whole number",
        "not a whole number",
        "file not found",
        "no path",
    ]
    assert len(rejected) == len(expected)
    for reason, words in zip(rejected["reason"], expected, strict=True):
        assert words in reason
    assert ["another label" in reason for reason in rejected["reason"][:3]] == [False, True, False]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("clip,label\na.wav,x\n", r"no column 'path'; it has \['clip', 'label'\]"),
        ("path,kind\na.wav,x\n", "no column 'label'"),
        ("place,label\na.wav,x\n", "no column 'path'"),
        ("path,label\n", "no rows"),
        ("", "empty"),
        ("path,label\na.wav,x,y\n", "line 2: 3 cells under 2 columns"),
        ('path,label\n\n"a.wav","x\ny"\na.wav,x,y\n', "line 5: 3 cells under 2 columns"),
        ("path,label,split\na.wav,x,tset\n", r"unknown split names \['tset'\]"),
        ("path,label\na.wav,x\n", "only one class: x"),
        ("path,species\na.wav,x\n", "only one class: x"),
        ("path,label\na.wav,\n", "no labels"),
        ("path,label\ngone.wav,x\n", "all 1 clips of t were rejected.*not found"),
    ],
)
def test_tables_that_cannot_be_used(write: Write, text: str, words: str) -> None:
    table = write("a.wav").parent / "list.csv"
    table.write_text(text)
    with pytest.raises(ManifestError, match=words):
        scan_audio(table, corpus="t", labels="table")


def test_sources_that_cannot_be_used(tmp_path: Path, write: Write) -> None:
    with pytest.raises(ManifestError, match="does not exist"):
        scan_audio(tmp_path / "nowhere", corpus="t")
    (tmp_path / "notes.md").write_text("x")
    with pytest.raises(ManifestError, match="neither a folder nor a table"):
        scan_audio(tmp_path / "notes.md", corpus="t")
    with pytest.raises(ManifestError, match="does not exist"):
        scan_audio(tmp_path / "nowhere.csv", corpus="t")
    with pytest.raises(ManifestError, match="no audio found"):
        scan_audio(tmp_path, corpus="t")
    with pytest.raises(ManifestError, match="labels='folder' must be"):
        scan_audio(write("a.wav").parent, corpus="t", labels="folder")  # type: ignore[arg-type]
    (tmp_path / "l.csv").write_text("path\na.wav\n")
    with pytest.raises(ManifestError, match="columns names"):
        scan_audio(tmp_path / "l.csv", corpus="t", columns={"speaker": "who"})


def test_500_rows_of_which_20_are_labelled(tmp_path: Path, write: Write) -> None:
    data = write("a.wav", 0.05).read_bytes()
    lines = ["path,label"]
    for i in range(500):
        (tmp_path / f"{i}.wav").write_bytes(data)
        lines.append(f"{i}.wav,{'ab'[i % 2] if i < 20 else ''}")
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    manifest, rejected = scan_audio(tmp_path / "labels.csv", corpus="few")
    assert rejected.empty
    assert manifest["label"].notna().sum() == 20
    assert manifest["clip_id"].is_unique  # the same content under another name is another clip
    assert manifest["digest"].nunique() == 1


def test_columns_that_people_use_are_recognised(
    write: Write, caplog: pytest.LogCaptureFixture
) -> None:
    root = write("a.wav").parent
    write("b.wav", seed=1)
    (root / "list.csv").write_text(
        "filename,target,category,speaker,fold\na.wav,0,cat,ann,1\nb.wav,1,dog,bob,2\n"
    )
    with caplog.at_level("INFO"):
        manifest, _ = scan_audio(root / "list.csv", corpus="t")
    assert manifest["label"].tolist() == ["cat", "dog"]
    assert manifest["group"].tolist() == ["ann", "bob"]
    assert manifest["fold"].tolist() == [1, 2]
    line = next(text for text in caplog.messages if "list.csv" in text)
    assert all(name in line for name in ("filename", "category", "speaker"))
    assert "fold" not in line


def test_our_own_names_and_what_is_configured_win(
    write: Write, caplog: pytest.LogCaptureFixture
) -> None:
    root = write("a.wav").parent
    write("b.wav", seed=1)
    table = root / "list.csv"
    table.write_text("path,file,label,class,speaker\na.wav,x,1,c,s\nb.wav,y,2,d,t\n")
    with caplog.at_level("INFO"):
        manifest, _ = scan_audio(table, corpus="t", columns={"group": "class"})
    assert manifest["label"].tolist() == ["1", "2"]
    assert manifest["group"].tolist() == ["c", "d"]
    assert not [text for text in caplog.messages if "taking" in text]
    mapped, _ = scan_audio(table, corpus="t", columns={"label": "class"})
    assert mapped["label"].tolist() == ["c", "d"]
    assert mapped["group"].tolist() == ["s", "t"]


def test_one_folder_alone_is_one_class(write: Write) -> None:
    root = write("dog/a.wav").parents[1]
    write("dog/deeper/b.wav", seed=1)
    manifest, _ = scan_audio(root, corpus="t")
    assert manifest["label"].tolist() == ["dog", "dog"]
    with pytest.raises(ManifestError, match="only one class: dog"):
        check_classes(manifest)
    with pytest.raises(ManifestError, match="only one class: dog"):
        scan_audio(root, corpus="t", labels="folders")
    assert scan_audio(root, corpus="t", labels="none")[0]["label"].isna().all()
    write("c.wav", seed=2)  # beside it: a folder like any other
    assert scan_audio(root, corpus="t")[0]["label"].isna().all()


def test_pipes_devices_and_loops_of_links_do_not_hang(write: Write, tmp_path: Path) -> None:
    root = write("dog/a.wav").parents[1]
    write("cat/b.wav", seed=1)
    os.mkfifo(root / "cat" / "pipe.wav")
    (root / "dog" / "zero.wav").symlink_to("/dev/zero")
    (root / "dog" / "up").symlink_to(root)
    (root / "one").symlink_to(root / "two")
    (root / "two").symlink_to(root / "one")
    manifest, rejected = scan_audio(root, corpus="t")
    assert sorted(Path(path).name for path in manifest["path"]) == ["a.wav", "b.wav"]
    found = reasons(rejected)
    assert found["pipe.wav"] == found["zero.wav"] == "not a file"
    assert set(found) == {"pipe.wav", "zero.wav", "one", "two"}
    os.mkfifo(root / "labels.csv")
    assert len(scan_audio(root, corpus="t")[0]) == 2
    for source in (root / "labels.csv", Path("/dev/zero"), root / "cat" / "pipe.wav"):
        with pytest.raises(ManifestError):
            scan_audio(source, corpus="t", labels="none")


@pytest.mark.parametrize(
    "path", ["../secret/a.wav", "sounds/../../secret/a.wav", "..\\secret\\a.wav"]
)
def test_a_table_does_not_lead_out_of_its_folder(tmp_path, path):
    for folder in ("secret", "mine/sounds", "audio"):
        (tmp_path / folder).mkdir(parents=True)
        sf.write(
            tmp_path / folder / "a.wav",
            np.random.default_rng(len(folder)).normal(0, 0.1, 16000),
            16000,
        )
    table = tmp_path / "mine" / "table.csv"
    pd.DataFrame({"path": [path], "label": ["x"]}).to_csv(table, index=False)
    with pytest.raises(ManifestError, match="absolute path"):
        scan_audio(table, corpus="mine")
    meant = [str(tmp_path / "secret" / "a.wav"), "sounds/a.wav", "../audio/a.wav"]
    pd.DataFrame({"path": meant, "label": list("xyx")}).to_csv(table, index=False)
    assert len(scan_audio(table, corpus="mine")[0]) == 3
