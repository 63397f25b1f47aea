"""One's own audio, without a line of Python: folders, tables, unlabelled clips, configuration."""

import shutil

import pandas as pd
import pytest

from unfused.probes.probe import SELF_TRAINING

NEW_TASK = """
select: {{tasks: [mine]}}
tasks:
  mine: {{audio: "{folder}", test_fraction: 0.3, n_folds: 1}}
"""


def test_folders_are_classes(own_data_run):
    manifest = own_data_run.table("03_primary/own_data/manifest.parquet")
    counts = manifest["label"].fillna("none").value_counts().to_dict()
    assert counts == {"low": 10, "mid": 10, "high": 10, "none": 8}
    suffixes = manifest["path"].str.rsplit(".", n=1).str[1]
    assert set(suffixes) == {"wav", "flac", "ogg", "mp3"}
    assert manifest["path"].str.contains("/Büro sounds/").all()
    predictions = own_data_run.table("07_model_output/predictions.parquet")
    assert set(predictions["label"]) == {"low", "mid", "high"}
    assert (own_data_run.data / "08_reporting/report.html").is_file()


def test_clips_without_a_label_are_trained_on_but_never_scored(own_data_run):
    manifest = own_data_run.table("03_primary/own_data/manifest.parquet")
    check_unlabelled(own_data_run, set(manifest.loc[manifest["label"].isna(), "clip_id"]))


def check_unlabelled(project, unlabelled):
    assert unlabelled
    data = project.data
    assert unlabelled <= set(
        project.table("05_model_input/pretraining_corpus/splits.parquet")["clip_id"]
    )
    pseudo = project.table("05_model_input/own_data/pseudo_labels.parquet")
    assert unlabelled <= set(pseudo["clip_id"])
    students = list((data / "06_models").glob("*/unfused/*/*/student/trained_on.parquet"))
    assert students
    for table in students:
        assert unlabelled <= set(pd.read_parquet(table)["clip_id"])
    predictions = project.table("07_model_output/predictions.parquet")
    assert not unlabelled & set(predictions["clip_id"])
    splits = project.table("05_model_input/own_data/splits.parquet")
    scored = splits["split"].isin(["train", "valid", "test"])
    assert not unlabelled & set(splits.loc[scored, "clip_id"])


@pytest.fixture(scope="module")
def few_labels(tone, tmp_path_factory):
    """A table of 200 clips of which 20 have a label, and a pool that holds copies of those 20."""
    folder = tmp_path_factory.mktemp("few labels")
    rows = []
    for index in range(200):
        label = "ab"[index % 2]
        path = tone(folder / "audio" / f"{index}.wav", 300 if label == "a" else 2000, seconds=0.2)
        rows.append({"path": f"audio/{path.name}", "class": label if index < 20 else ""})
    pd.DataFrame(rows).to_csv(folder / "clips.csv", index=False)
    for index in range(20):
        (folder / "pool").mkdir(exist_ok=True)
        shutil.copy(folder / "audio" / f"{index}.wav", folder / "pool" / f"copy {index}.wav")
    tone(folder / "pool" / "other.wav", 700)
    return folder


def test_a_table_of_many_clips_and_few_labels(project, few_labels):
    project.params |= {
        "data": str(few_labels / "clips.csv"),
        "tasks.own_data.columns": {"label": "class"},
        "tasks.own_data.test_fraction": 0.4,
        "unlabelled": str(few_labels / "pool"),
    }
    project.run(to=["results", "predictions"])
    manifest = project.table("03_primary/own_data/manifest.parquet")
    assert len(manifest) == 200
    assert manifest["label"].notna().sum() == 20
    check_unlabelled(project, set(manifest.loc[manifest["label"].isna(), "clip_id"]))
    results = project.table("07_model_output/results.parquet")
    assert set(results["n_test"]) == {8}
    probed = results[results["protocol"] == "linear_probe"]
    heard = probed["setting"] == SELF_TRAINING  # by all encoders, not by plain statistics
    assert (heard == (probed["parameters"] > 0)).all()
    assert 0 < heard.sum() < len(heard)
    # The pool's copies of held-out clips are held out as well; its other audio is not.
    splits = project.table("05_model_input/own_data/splits.parquet")
    held_out = set(splits.loc[splits["split"].isin(["valid", "test"]), "digest"])
    seen = project.table("05_model_input/pretraining_corpus/splits.parquet")
    assert not held_out & set(seen["digest"])
    pool = project.table("03_primary/pool/manifest.parquet").set_index("path")["digest"]
    assert pool[str(few_labels / "pool/other.wav")] in set(seen["digest"])


def test_clips_with_several_labels(project, tone, tmp_path):
    rows = []
    for index in range(60):
        names = ["low", "high"] if index % 3 == 2 else [("low", "high")[index % 3]]
        path = tone(tmp_path / f"{index}.wav", 300 if "low" in names else 2700, seconds=0.3)
        rows.append({"path": path.name, "label": "" if index > 54 else ";".join(names)})
    pd.DataFrame(rows).to_csv(tmp_path / "clips.csv", index=False)
    project.params |= {
        "data": str(tmp_path / "clips.csv"),
        "tasks.own_data.label_separator": ";",
        "evaluation.label_efficiency.budgets": [5],
    }
    output = project.run()
    assert output.splitlines()[-1].endswith("report.html")
    predictions = project.table("07_model_output/predictions.parquet")
    assert set(predictions["label"]) == {"low", "high", "high|low"}
    assert len(predictions["scores"].iloc[0]) == 2
    summary = project.table("08_reporting/summary.parquet")
    assert "mAP" in set(summary["metric"])
    again = project.run()
    assert "reused summaries" in again


def test_a_new_task_is_one_entry_in_the_configuration(project, class_folders, tmp_path):
    conf = tmp_path / "conf"
    shutil.copytree(project.root / "conf", conf)
    (conf / "test/parameters/mine.yml").write_text(NEW_TASK.format(folder=class_folders))
    project.run("data_engineering", conf=str(conf))
    splits = project.table("05_model_input/mine/splits.parquet")
    assert splits["split"].value_counts()["test"] == 9
    assert not (project.data / "01_raw").exists()  # nothing rendered


def test_random_sounds_may_be_learnt_from_too(project, class_folders):
    sounds = {"unlabelled": "synthetic", "demo.n_sounds": 6}
    output = project.run("data_engineering", data=str(class_folders), **sounds)
    assert "study takes" not in output  # what the demo takes is not said of one's own data
    made = project.table("03_primary/pool/manifest.parquet")
    learnt_from = project.table("05_model_input/pretraining_corpus/splits.parquet")
    assert len(made) == 6
    assert set(made["clip_id"]) < set(learnt_from["clip_id"])


def test_a_task_may_come_from_the_command_line(project, class_folders):
    project.run(
        "data_engineering", **{"tasks.mine.audio": str(class_folders), "select.tasks": "mine"}
    )
    assert len(project.table("03_primary/mine/manifest.parquet")) == 38


def test_bad_files_are_rejected_with_a_reason(project, class_folders, tmp_path):
    folder = tmp_path / "audio"
    shutil.copytree(class_folders, folder)
    (folder / "low/broken.wav").write_bytes(b"RIFF no audio")
    (folder / "low/empty.flac").touch()
    (folder / "low/notes.txt").write_text("no audio and not meant to be")
    project.run("data_engineering", data=str(folder))
    rejected = pd.read_csv(project.data / "03_primary/own_data/rejected_audio.csv")
    names = rejected["path"].str.rsplit("/", n=1).str[1]
    assert set(names) == {"broken.wav", "empty.flac"}
    assert rejected["reason"].str.len().gt(5).all()


def test_a_transductive_study_says_so_in_every_row(own_data_run, tmp_path):
    project = own_data_run.copy(tmp_path / "results")
    project.run(to=["results"], **{"evaluation.transductive": True})
    results = project.table("07_model_output/results.parquet")
    assert results["transductive"].all()
    manifest = project.table("03_primary/own_data/manifest.parquet")
    seen = project.table("05_model_input/pretraining_corpus/splits.parquet")
    assert set(seen["clip_id"]) == set(manifest["clip_id"])
    assert not own_data_run.table("07_model_output/results.parquet")["transductive"].any()


def test_a_teacher_from_outside_teaches(project, class_folders):
    """It takes the place of a method: nothing is pre-trained, and the student learns from it."""
    project.params |= {
        "data": str(class_folders),
        "teacher": "somebody",
        "teachers": {"somebody": {"kind": "mfcc_statistics", "n_mfcc": 8}},
    }
    project.run()
    assert not list((project.data / "06_models").glob("decar-*"))
    results = project.table("07_model_output/results.parquet")
    assert {"somebody", "unfused", "random_init", "supervised"} <= set(results["encoder"])
    compared = project.table("08_reporting/comparisons.parquet").set_index("question")
    assert compared.loc["teacher", "second"].startswith("somebody")
    heard = next((project.data / "06_models").glob("*/unfused/*/*/student/trained_on.parquet"))
    assert set(pd.read_parquet(heard)["corpus"]) == {"Büro sounds"}
