"""Every public layout in miniature: real file and column names, a few clips."""

import json
import zlib

import numpy as np
import pandas as pd
import pytest
import soundfile
import yaml

from unfused.data.manifest import scan_audio
from unfused.data.sources import name_pattern
from unfused.data.splits import assign_splits
from unfused.params import Task
from unfused.tasks.layouts import (
    LayoutError,
    available,
    missing_tasks,
    read_layout,
    warn_of_counts,
)


def wav(path, seconds=0.1, rate=16000):
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = zlib.crc32(str(path).encode())  # the same audio twice would be left out
    soundfile.write(path, 0.1 * np.random.default_rng(seed).normal(size=int(seconds * rate)), rate)


def text(path, *lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def scanned(folder, name, separator=None, **options):
    """Return the manifest that a task of this layout gets, and its splits."""
    listing = read_layout(name, folder, **options)
    manifest, rejected = scan_audio(
        folder, corpus=name, listing=listing, label_separator=separator, min_seconds=0.01
    )
    assert rejected.empty
    return manifest, assign_splits(manifest)


def parts(manifest, splits, by="path"):
    table = splits.merge(manifest[["clip_id", by]], on="clip_id")
    return {split: sorted(rows[by]) for split, rows in table.groupby("split")}


@pytest.fixture
def commands(tmp_path):
    for word in ("yes", "no", "bed", "tree"):
        for speaker in ("aa11", "bb22", "cc33", "dd44"):
            wav(tmp_path / word / f"{speaker}_nohash_0.wav")
    wav(tmp_path / "_background_noise_" / "pink_noise.wav", seconds=20)
    words = ("yes", "no", "bed", "tree")
    text(tmp_path / "validation_list.txt", *(f"{word}/bb22_nohash_0.wav" for word in words))
    text(tmp_path / "testing_list.txt", *(f"{word}/cc33_nohash_0.wav" for word in words))
    return tmp_path


def test_speech_commands_with_all_words(commands):
    manifest, splits = scanned(commands, "speech_commands", classes="35")
    assert manifest["label"].value_counts().to_dict() == dict.fromkeys(
        ["yes", "no", "bed", "tree"], 4
    )
    assert splits["split"].value_counts().to_dict() == {"train": 8, "valid": 4, "test": 4}
    assert set(manifest["group"]) == {"aa11", "bb22", "cc33", "dd44"}
    assert splits["made_by"].unique().tolist() == ["given split"]


def test_speech_commands_with_twelve_classes(commands):
    manifest, splits = scanned(commands, "speech_commands", classes="12")
    assert manifest["label"].value_counts().to_dict() == {
        "silence": 20, "unknown": 8, "yes": 4, "no": 4
    }  # fmt: skip
    silence = manifest[manifest["label"] == "silence"].drop(columns="split")
    silence = silence.merge(splits, on="clip_id")
    assert silence["split"].value_counts().to_dict() == {"train": 16, "valid": 2, "test": 2}
    assert sorted(silence["offset"]) == [16000 * i for i in range(20)]
    assert (silence["frames"] == 16000).all()


def test_librispeech_speakers_and_chapters(tmp_path):
    for speaker, chapter in (("19", "198"), ("19", "227"), ("26", "495")):
        for number in range(4):
            folder = tmp_path / "train-clean-100" / speaker / chapter
            wav(folder / f"{speaker}-{chapter}-{number:04d}.flac")
    manifest, splits = scanned(tmp_path, "librispeech")
    assert manifest["label"].value_counts().to_dict() == {"19": 8, "26": 4}
    assert set(splits["made_by"]) == {"made stratified (seed 0)"}
    chapters, _ = scanned(tmp_path / "train-clean-100", "librispeech", label="chapter")
    assert chapters["label"].nunique() == 3


def test_voxceleb1(tmp_path):
    lines = []
    for speaker in ("id10001", "id10002"):
        for part, video in ((1, "aaa"), (1, "bbb"), (2, "ccc"), (3, "ddd")):
            wav(tmp_path / "wav" / speaker / video / "00001.wav")
            lines.append(f"{part} {speaker}/{video}/00001.wav")
    text(tmp_path / "iden_split.txt", *lines)
    manifest, splits = scanned(tmp_path, "voxceleb1")
    assert splits["split"].value_counts().to_dict() == {"train": 4, "valid": 2, "test": 2}
    assert set(manifest["label"]) == {"id10001", "id10002"}
    text(tmp_path / "iden_split.txt", "4 id10001/aaa/00001.wav")
    with pytest.raises(LayoutError, match=r"part '4'.*none of 1, 2, 3"):
        read_layout("voxceleb1", tmp_path)


def test_voxforge_speakers_are_groups(tmp_path):
    for language in ("de", "en"):
        for submission in ("Anna-2010-x", "anna-2011-y", "Bert-2010-z", "Carl-2010-u",
                           "anonymous-2012-a", "anonymous-2012-b"):  # fmt: skip
            wav(tmp_path / language / submission / "wav" / "a0001.wav")
    wav(tmp_path / "xx" / "Dora-2010-v" / "wav" / "a0001.wav")
    wav(tmp_path / "de" / "Emil-2010-w" / "flac" / "a0001.flac")
    manifest, splits = scanned(tmp_path, "voxforge")
    assert manifest["label"].value_counts().to_dict() == {"de": 6, "en": 6}
    assert manifest["group"].nunique() == 10  # one Anna, two anonymous, in each language
    table = splits.merge(manifest, on="clip_id")
    assert (table.groupby("group")["split_x"].nunique() == 1).all()


def test_voxforge_archives_may_lie_as_they_were_fetched(tmp_path):
    main = tmp_path / "ru" / "Trunk" / "Audio" / "Main" / "16kHz_16bit"
    for submission in ("Anna-2010-x", "anna-2011-y", "anonymous-2012-a"):
        wav(main / submission / "wav" / "ru_0001.wav")
    listed = read_layout("voxforge", tmp_path)
    assert set(listed["label"]) == {"ru"}
    assert set(listed["group"]) == {"ru/anna", "ru/anonymous-2012-a"}


def test_iemocap_sessions_are_folds(tmp_path):
    for session in range(1, 6):
        root = tmp_path / f"Session{session}"
        lines = ["% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]", ""]
        for number, emotion in enumerate(["neu", "ang", "sad", "hap", "xxx", "fru"]):
            name = f"Ses0{session}F_impro01_{'FM'[number % 2]}{number:03d}"
            wav(root / "sentences" / "wav" / f"Ses0{session}F_impro01" / f"{name}.wav")
            lines += [f"[6.2901 - 8.2357]\t{name}\t{emotion}\t[2.5000, 2.5000, 2.5000]",
                      "C-E2:\tNeutral;\t()"]  # fmt: skip
        text(root / "dialog" / "EmoEvaluation" / f"Ses0{session}F_impro01.txt", *lines)
    manifest, splits = scanned(tmp_path, "iemocap")
    assert manifest["label"].value_counts().to_dict() == dict.fromkeys(
        ["neu", "ang", "sad", "hap"], 5
    )
    assert sorted(splits["fold"].unique()) == [1, 2, 3, 4, 5]
    assert manifest["group"].nunique() == 10
    tested = splits[(splits["split"] == "test")].merge(manifest, on="clip_id")
    assert (tested["fold_x"] == tested["fold_y"]).all()


def test_crema_d_actors_are_groups(tmp_path):
    for actor in range(1001, 1007):
        for emotion in ("ANG", "HAP", "NEU"):
            wav(tmp_path / "AudioWAV" / f"{actor}_DFA_{emotion}_XX.wav")
    manifest, splits = scanned(tmp_path, "crema_d")
    assert set(manifest["label"]) == {"anger", "happiness", "neutral"}
    table = splits.merge(manifest, on="clip_id")
    assert (table.groupby("group")["split_x"].nunique() == 1).all()
    wav(tmp_path / "AudioWAV" / "1001_DFA_JOY_XX.wav")
    with pytest.raises(LayoutError, match="'JOY' is no emotion"):
        read_layout("crema_d", tmp_path)


def test_tut_urban_2018_takes_fold_1(tmp_path):
    rows, setup = ["filename\tscene_label\tidentifier\tsource_label"], {"train": [], "evaluate": []}
    for scene in ("airport", "park"):
        for place in range(4):
            name = f"audio/{scene}-barcelona-{place}-{place}-a.wav"
            wav(tmp_path / name)
            rows.append(f"{name}\t{scene}\tbarcelona-{place}\ta")
            setup["evaluate" if place == 3 else "train"].append(f"{name}\t{scene}")
    text(tmp_path / "meta.csv", *rows)
    for part, lines in setup.items():
        text(tmp_path / "evaluation_setup" / f"fold1_{part}.txt", *lines)
    manifest, splits = scanned(tmp_path, "tut_urban_2018")
    assert splits["split"].value_counts()["test"] == 2
    table = splits.merge(manifest, on="clip_id")
    assert (table.groupby("group")["split_x"].nunique() == 1).all()


def test_urbansound8k_has_ten_folds(tmp_path):
    rows = ["slice_file_name,fsID,start,end,salience,fold,classID,class"]
    for fold in range(1, 11):
        for number, name in enumerate(["dog_bark", "siren"]):
            file = f"{fold}{number}-3-0-0.wav"
            wav(tmp_path / "audio" / f"fold{fold}" / file)
            rows.append(f"{file},{fold}{number},0.0,0.1,1,{fold},{number},{name}")
    text(tmp_path / "metadata" / "UrbanSound8K.csv", *rows)
    manifest, splits = scanned(tmp_path, "urbansound8k")
    assert len(manifest) == 20
    assert splits["fold"].nunique() == 10
    assert (splits[splits["split"] == "test"].groupby("fold").size() == 2).all()


@pytest.fixture
def esc(tmp_path):
    rows = ["filename,fold,target,category,esc10,src_file,take"]
    for fold in range(1, 6):
        for target, (name, ten) in enumerate([("dog", "True"), ("rain", "True"), ("car", "False")]):
            file = f"{fold}-{fold}00{target}-A-{target}.wav"
            wav(tmp_path / "audio" / file)
            rows.append(f"{file},{fold},{target},{name},{ten},{fold}00{target},A")
    text(tmp_path / "meta" / "esc50.csv", *rows)
    return tmp_path


def test_esc50_and_esc10(esc):
    manifest, splits = scanned(esc, "esc50")
    assert (len(manifest), splits["fold"].nunique(), manifest["label"].nunique()) == (15, 5, 3)
    assert set(scanned(esc, "esc50", esc10=True)[0]["label"]) == {"dog", "rain"}


def test_bird_audio_detection_joins_its_two_sets(tmp_path):
    for folder, table, items in (
        ("ff1010bird_wav/wav", "ff1010bird_metadata_2018.csv", ("64486", "2525")),
        ("warblrb10k_public_wav/wav", "warblrb10k_public_metadata_2018.csv", ("759808e5", "9f2e")),
    ):
        for item in items:
            wav(tmp_path / folder / f"{item}.wav")
        text(tmp_path / table, "itemid,datasetid,hasbird", f"{items[0]},x,1", f"{items[1]},x,0")
    manifest, _ = scanned(tmp_path, "bird_audio_detection")
    assert manifest["label"].value_counts().to_dict() == {"bird": 2, "no bird": 2}


def test_nsynth_families_and_pitches(tmp_path):
    for part, n in (("train", 4), ("valid", 2), ("test", 2)):
        examples = {}
        for number in range(n):
            family = ["bass", "flute"][number % 2]
            note = f"{family}_acoustic_{part}{number:03d}-06{number}-100"
            wav(tmp_path / f"nsynth-{part}" / "audio" / f"{note}.wav")
            examples[note] = {"instrument_family_str": family, "pitch": 60 + number % 2,
                              "instrument_str": note.split("-")[0]}  # fmt: skip
        text(tmp_path / f"nsynth-{part}" / "examples.json", json.dumps(examples))
    manifest, splits = scanned(tmp_path, "nsynth")
    assert splits["split"].value_counts().to_dict() == {"train": 4, "valid": 2, "test": 2}
    assert set(manifest["label"]) == {"bass", "flute"}
    assert set(scanned(tmp_path, "nsynth", label="pitch")[0]["label"]) == {"60", "61"}


def test_gtzan_takes_the_filtered_lists(tmp_path):
    for part, numbers in (("train", (0, 1)), ("valid", (2,)), ("test", (3,))):
        names = [f"{genre}/{genre}.{n:05d}.wav" for genre in ("blues", "rock") for n in numbers]
        for name in names:
            wav(tmp_path / "genres" / name)
        text(tmp_path / f"{part}_filtered.txt", *names)
    manifest, splits = scanned(tmp_path, "gtzan")
    assert splits["split"].value_counts().to_dict() == {"train": 4, "valid": 2, "test": 2}
    assert parts(manifest, splits, "label")["test"] == ["blues", "rock"]
    (tmp_path / "genres").rename(tmp_path / "genres_original")  # a copy that is about
    assert scanned(tmp_path, "gtzan")[0]["label"].tolist() == manifest["label"].tolist()


def test_surge_presets_are_groups(tmp_path, entries):
    for name in ("factory-Basses-Sub", "factory-Leads-Ow", "3rdparty-A-Pads-B", "factory-Keys-C"):
        preset = tmp_path / f"surge-patches-{name}-velocity64"
        for pitch in (21, 108):
            wav(preset / f"note{pitch:03d}.ogg")
        (preset / "._note021.ogg").write_bytes(b"what a Mac leaves in an archive")
    labels = entries["surge"]["labels"]  # no layout: a pattern says it
    manifest, rejected = scan_audio(tmp_path, corpus="surge", labels=labels)
    assert rejected.empty
    splits = assign_splits(manifest)
    assert manifest["label"].value_counts().to_dict() == {"21": 4, "108": 4}
    assert manifest["group"].nunique() == 4
    table = splits.merge(manifest, on="clip_id")
    assert (table.groupby("group")["split_x"].nunique() == 1).all()


def test_audioset_csvs_have_three_lines_of_comment(tmp_path):
    comment = ["# Segments csv created Sun Mar  5 10:54:31 2017", "# num_ytids=3",
               "# YTID, start_seconds, end_seconds, positive_labels"]  # fmt: skip
    train = [
        '--aE2O5G5WE, 0.000, 10.000, "/m/03fwl,/m/04rlf"',
        '-0DLPzsiXXE, 30.000, 40.000, "/m/04rlf"',
        '-6onh5H8RVk, 2.000, 12.000, "/m/03fwl"',
    ]
    test = ['-5c3xx_1bV8, 30.000, 40.000, "/m/03fwl"', '-7xXHFI0c2w, 0.000, 10.000, "/m/04rlf"']
    text(tmp_path / "balanced_train_segments.csv", *comment, *train)
    text(tmp_path / "eval_segments.csv", *comment, *test)
    for name in ("--aE2O5G5WE", "Y-0DLPzsiXXE_30", "-6onh5H8RVk", "Y-5c3xx_1bV8", "-7xXHFI0c2w"):
        wav(tmp_path / "audio" / f"{name}.wav")
    manifest, splits = scanned(tmp_path, "audioset", ",")
    assert manifest["multi_label"].all()
    assert manifest["label"][0] == "/m/03fwl|/m/04rlf"
    assert splits["split"].value_counts()["test"] == 2


def test_audioset_unbalanced_as_configured(tmp_path, entries):
    comment = ["# Segments csv created Sun Mar  5 10:54:25 2017", "# num_ytids=3",
               "# YTID, start_seconds, end_seconds, positive_labels"]  # fmt: skip
    audioset = tmp_path / "audioset"
    text(audioset / "balanced_train_segments.csv", *comment, 'aaa, 0.000, 10.000, "/m/04rlf"')
    text(audioset / "unbalanced_train_segments.csv", *comment,
         'bbb, 0.000, 10.000, "/m/09x0r"', 'ccc, 30.000, 40.000, "/m/03fwl"',
         'ddd, 2.000, 12.000, "/m/09x0r"')  # fmt: skip
    text(audioset / "eval_segments.csv", *comment, 'eee, 5.000, 15.000, "/m/09x0r,/m/03fwl"')
    for name in ("aaa", "bbb", "Yccc", "ddd_2", "eee"):
        wav(audioset / "audio" / f"{name}.wav")
    (tmp_path / "audioset_unbalanced").symlink_to(audioset)  # as the entry says
    task = Task(**entries["audioset_unbalanced"])
    folder = tmp_path / str(task.audio).rsplit("/", 1)[-1]
    manifest, splits = scanned(folder, task.layout, task.label_separator, **task.layout_options)
    held = parts(manifest, splits)
    assert [path.rsplit("/", 1)[-1] for path in held["test"]] == ["eee.wav"]
    assert sorted(manifest["path"].str.rsplit("/", n=1).str[-1]) == [
        "Yccc.wav", "bbb.wav", "ddd_2.wav", "eee.wav",
    ]  # fmt: skip
    with pytest.raises(LayoutError, match="training='all' must be one of"):
        read_layout("audioset", folder, training="all")


def test_an_audioset_clip_that_was_not_fetched_is_rejected_by_name(tmp_path):
    text(tmp_path / "balanced_train_segments.csv", "#", "#", "#", 'abc, 0.0, 10.0, "/m/1"',
         'def, 0.0, 10.0, "/m/2"')  # fmt: skip
    text(tmp_path / "eval_segments.csv", "#", "#", "#", 'ghi, 0.0, 10.0, "/m/1,/m/2"')
    for name in ("abc", "ghi"):
        wav(tmp_path / f"{name}.wav")
    listing = read_layout("audioset", tmp_path)
    _, rejected = scan_audio(tmp_path, corpus="a", listing=listing, label_separator=",")
    assert rejected["path"].str.endswith("def.wav").tolist() == [True]


def test_fsd50k_and_fsdkaggle2019(tmp_path):
    for number in range(4):
        wav(tmp_path / "FSD50K.dev_audio" / f"{number}.wav")
    for number in (4, 5):
        wav(tmp_path / "FSD50K.eval_audio" / f"{number}.wav")
    text(tmp_path / "FSD50K.ground_truth" / "dev.csv", "fname,labels,mids,split",
         '0,"Bark,Dog",x,train', "1,Rain,x,train", "2,Rain,x,val", "3,Dog,x,train")  # fmt: skip
    text(
        tmp_path / "FSD50K.ground_truth" / "eval.csv",
        "fname,labels,mids",
        "4,Rain,x",
        '5,"Dog,Bark",x',
    )
    manifest, splits = scanned(tmp_path, "fsd50k", ",")
    assert splits["split"].value_counts().to_dict() == {"train": 3, "test": 2, "valid": 1}
    assert manifest["label"][0] == "Bark|Dog"
    meta = tmp_path / "FSDKaggle2019.meta"
    text(meta / "train_curated_post_competition.csv", "fname,labels,freesound_id,license",
         "a.wav,Bus,1,cc", 'b.wav,"Bus,Car",2,cc', "c.wav,Car,3,cc")  # fmt: skip
    text(meta / "test_post_competition.csv", "fname,labels,usage,freesound_id,license",
         "d.wav,Bus,Public,4,cc")  # fmt: skip
    for name in "abc":
        wav(tmp_path / "FSDKaggle2019.audio_train_curated" / f"{name}.wav")
    wav(tmp_path / "FSDKaggle2019.audio_test" / "d.wav")
    manifest, splits = scanned(tmp_path, "fsdkaggle2019", ",")
    assert splits["split"].value_counts()["test"] == 1
    assert set(manifest["label"]) == {"Bus", "Bus|Car", "Car"}


def test_magnatagatune_keeps_the_most_frequent_tags(tmp_path):
    rows = ["clip_id\trare\tguitar\tslow\tmp3_path"]
    for number, letter in enumerate("00bcdf"):
        name = (
            f"{letter}/some_artist-album-0{number // 2}-title-{29 * number}-{29 * number + 29}.mp3"
        )
        wav(tmp_path / name)
        rows.append(f"{number}\t{int(number == 5)}\t{number % 2}\t1\t{name}")
    text(tmp_path / "annotations_final.csv", *rows)
    manifest, splits = scanned(tmp_path, "magnatagatune", ",", tags=2)
    assert set(manifest["label"]) == {"slow", "guitar|slow"}
    assert manifest["group"].nunique() == 5  # two clips of one song
    assert splits["split"].value_counts().to_dict() == {"train": 3, "test": 2, "valid": 1}


def test_what_is_missing_is_named(tmp_path, esc):
    with pytest.raises(LayoutError, match="is no folder"):
        read_layout("esc50", tmp_path / "nowhere")
    with pytest.raises(LayoutError, match=r"has no metadata/UrbanSound8K.csv"):
        read_layout("urbansound8k", esc)
    with pytest.raises(LayoutError, match="'esc' is unknown: choose from"):
        read_layout("esc", esc)
    text(esc / "meta" / "esc50.csv", "filename,fold", "a.wav,1")
    with pytest.raises(LayoutError, match=r"no column \['category'"):
        read_layout("esc50", esc)


def test_counts_that_differ_from_the_makers_are_said(esc, caplog):
    manifest, _ = scanned(esc, "esc50")
    rejected = manifest.iloc[:0]
    assert warn_of_counts(manifest, rejected, clips=15, classes=3) == []
    said = warn_of_counts(manifest, rejected, clips=2000, classes=50)
    assert "15 clips, where its makers count 2,000" in said[0]
    assert "3 classes, where its makers count 50" in said[1]
    assert warn_of_counts(manifest, rejected, clips=None, classes=None) == []


@pytest.fixture
def entries(project_root):
    tasks = yaml.safe_load((project_root / "conf/base/parameters/tasks.yml").read_text())["tasks"]
    return {name: entry for name, entry in tasks.items() if "card" in entry}


def test_every_configured_data_set_has_a_layout_or_pattern_and_a_full_card(entries):
    assert len(entries) == 21
    for name, entry in entries.items():
        task = Task(**entry)
        assert (task.layout in available()) != (name_pattern(task.labels) is not None), name
        assert task.card is not None
        assert task.card.get.startswith(("http", "audio:")), name
    used = {entry["layout"] for entry in entries.values() if "layout" in entry}
    assert used == set(available())  # no layout without a task


def test_absent_data_sets_are_listed_with_where_to_put_them(entries, tmp_path):
    there = tmp_path / "esc"
    there.mkdir()
    placed = {name: entry | {"audio": str(tmp_path / name)} for name, entry in entries.items()}
    placed["esc50"]["audio"] = str(there)
    missing = missing_tasks(placed)
    assert "esc50" not in set(missing["task"])
    assert len(missing) == len(entries) - 1
    row = missing.set_index("task").loc["urbansound8k"]
    assert row["put_it_in"] == str(tmp_path / "urbansound8k")
    assert row["get"].startswith("https://urbansounddataset")
    assert isinstance(missing, pd.DataFrame)


def test_the_table_of_the_benchmark_page_says_what_the_cards_say(entries, project_root):
    page = (project_root / "docs" / "benchmark.md").read_text(encoding="utf-8")
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| `")]
    shown = {row[0].strip("`"): row[1:] for row in rows}
    for name, entry in entries.items():
        card = entry["card"]
        clips = f"{card['clips']:,}" if card["clips"] else "?"
        checked = "yes" if card["verified"] else "no"
        facts = [clips, str(card["classes"]), card["licence"], card["source"], checked]
        assert shown[name][2:] == facts, name
