"""``classify`` and ``export`` on a finished run: new audio in, labels and files for others out."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import soundfile
from kedro.framework.project import pipelines

from unfused import load_classifier

NEW = "07_model_output/new_audio"


@pytest.fixture(scope="module")
def project(finished, tmp_path_factory):
    """The finished run, to be used; its own files stay as they are."""
    return finished.copy(tmp_path_factory.mktemp("trained model") / "results")


@pytest.fixture(scope="module")
def new_audio(tone, tmp_path_factory):
    """A short and a long file of other rates, two bad ones, and something that is no audio."""
    folder = tmp_path_factory.mktemp("new audio") / "some recordings, 2024"
    tone(folder / "short.wav", 400, seconds=0.4, rate=22050)
    tone(folder / "deep" / "long.flac", 900, seconds=4.3, rate=8000)
    (folder / "broken.wav").write_bytes((folder / "short.wav").read_bytes()[:500])
    (folder / "no audio.mp3").write_text("nothing to hear")
    (folder / "notes.txt").write_text("ignored")
    return folder


@pytest.fixture(scope="module")
def classified(project, new_audio):
    """The log of ``classify`` on the new audio."""
    return project.run("classify", **{"classify.audio": str(new_audio)})


def predictions(project):
    return pd.read_csv(project.data / NEW / "predictions.csv")


def test_every_segment_has_a_row(project, classified):
    rows = predictions(project)
    assert [path.rsplit("/", 1)[1] for path in rows["path"]] == [*["long.flac"] * 5, "short.wav"]
    assert rows["start_seconds"].tolist() == [0, 1, 2, 3, 3.3, 0]  # the demo's clips have 1 s
    np.testing.assert_allclose(rows["end_seconds"], [1, 2, 3, 4, 4.3, 0.4], atol=0.011)
    manifest = project.table("03_primary/instrument/manifest.parquet")
    assert set(rows["label"]) <= set(manifest["label"])
    assert (rows["label"] == rows["top_1"]).all()
    ranked = rows[[f"probability_{rank}" for rank in range(1, 6)]].to_numpy()
    assert (np.diff(ranked) <= 0).all()
    assert (ranked.sum(axis=1) <= 1.001).all()
    embeddings = project.table(f"{NEW}/embeddings.parquet")
    pd.testing.assert_frame_equal(
        embeddings[["path", "start_seconds", "end_seconds"]],
        rows[["path", "start_seconds", "end_seconds"]],
    )
    assert embeddings.filter(regex=r"^e\d+$").shape == (6, 512)


def test_bad_files_are_listed_with_their_reasons(project, classified):
    rejected = pd.read_csv(project.data / NEW / "rejected_audio.csv")
    reasons = {path.rsplit("/", 1)[1]: why for path, why in rejected[["path", "reason"]].to_numpy()}
    assert set(reasons) == {"broken.wav", "no audio.mp3"}
    assert "truncated" in reasons["broken.wav"]
    assert "2 rejected" in classified


def test_nothing_is_trained(classified):
    assert "training" not in classified
    assert "predictions.csv" in classified


def test_the_classifier_is_the_probe_that_was_scored(project, classified):
    folder = project.data / "06_models/instrument/classifiers"
    (stored,) = (path.parent for path in folder.glob("*/head.json"))
    classifier = load_classifier(stored)
    manifest = project.table("03_primary/instrument/manifest.parquet")
    known = project.table("07_model_output/predictions.parquet")
    known = known[
        (known["encoder"] == "unfused")
        & (known["source"] == "teacher")
        & (known["protocol"] == "linear_probe")
    ]
    paths = manifest.set_index("clip_id")["path"].loc[known["clip_id"]]
    said = [item.label for item in classifier.predict(list(paths), device="cpu")]
    assert (np.array(said) == known["predicted"].to_numpy()).mean() > 0.95


def test_again_it_is_reused_and_a_file_is_enough(project, classified, new_audio):
    given = {"classify.audio": str(new_audio / "deep" / "long.flac")}
    output = project.run("classify", **given, **{"classify.segment_seconds": 3.0})
    assert "reused classifiers/unfused-teacher-block3-seed0-fold0" in output
    assert predictions(project)["start_seconds"].tolist() == [0, 1.3]


def test_another_encoder_a_table_and_a_network(project, new_audio, tmp_path):
    table = tmp_path / "clips.csv"
    path = new_audio / "deep" / "long.flac"
    table.write_text(f'path,offset,frames,label\n"{path}",8000,8000,whatever\n')
    given = {"classify.audio": str(table), "classify.top_k": 1}
    project.run("classify", **given, **{"model.encoder": "decar", "model.cut": "block2"})
    rows = predictions(project)
    assert rows[["start_seconds", "end_seconds"]].to_numpy().tolist() == [[1, 2]]
    assert "top_2" not in rows
    embedding = project.table(f"{NEW}/embeddings.parquet")
    assert "e1023" in embedding
    network = {"model.protocol": "fine_tuning", "model.encoder": "supervised"}
    project.run("classify", **given, **network)
    said = load_classifier(
        project.data / "06_models/instrument/supervised/supervised-seed0-fold0/network"
    ).predict(soundfile.read(path, dtype="float32")[0][8000:16000], sample_rate=8000, device="cpu")
    assert len(said.probabilities) == 12
    np.testing.assert_allclose(predictions(project)["probability"], said.probability, atol=0.05)


@pytest.fixture(scope="module")
def exported(project):
    log = project.run("export")
    return project.data / "06_models/exported", log


def test_an_export_is_whole(exported):
    folder, log = exported
    classifier = load_classifier(folder)
    assert len(classifier.classes) == 12
    card = (folder / "README.md").read_text(encoding="utf-8")
    for words in ("UnFuSeD student", "159 labelled training clips", "## Limits", "GPL-2"):
        assert words in card
    facts = json.loads((folder / "onnx.json").read_text())
    if facts["file"] is None:
        assert "[onnx]" in log
    else:
        assert (folder / facts["file"]).is_file()
        assert facts["relative"] < 1e-3
        assert f"{facts['difference']:.2g}" in card


def test_the_card_has_the_scores_of_the_table(exported, project):
    summary = project.table("08_reporting/summary.parquet")
    mine = summary[
        (summary["encoder"] == "unfused")
        & (summary["source"] == "teacher")
        & (summary["protocol"] == "linear_probe")
        & (summary["metric"] == "accuracy")
    ]
    (row,) = mine.to_dict("records")
    card = (exported[0] / "README.md").read_text(encoding="utf-8")
    interval = f"{100 * row['low']:.1f} to {100 * row['high']:.1f}"
    assert f"| **this model** | Accuracy | {100 * row['mean']:.1f} " in card
    assert f"| {interval} |" in card


def test_a_copy_classifies_where_nothing_was_trained(exported, project, new_audio, tmp_path):
    shutil.copytree(exported[0], tmp_path / "copy")
    elsewhere = project.copy_settings(tmp_path / "elsewhere")
    given = {"classify.audio": str(new_audio), "model.folder": str(tmp_path / "copy")}
    elsewhere.run("classify", **given)
    assert len(predictions(elsewhere)) == 6


@pytest.mark.parametrize(
    ("pipeline", "params", "words"),
    [
        ("classify", {}, ["no new audio", "new_audio=<folder", "make classify AUDIO="]),
        ("classify", {"classify.audio": "x"}, ["no trained model", "--pipelines=unfused"]),
        ("export", {}, ["no trained model", "--pipelines=unfused", "model.folder"]),
        ("classify", {"new_adio": "x"}, ["new_adio is no parameter", "did you mean 'new_audio'"]),
        ("classify", {"classify.topk": 3}, ["classify.topk", "did you mean 'top_k'"]),
        ("classify", {"model.encoder": "dekar"}, ["model.encoder='dekar'", "decar"]),
        ("classify", {"model.encoder": "supervised"}, ["'supervised'", "model.protocol=fine"]),
        (
            "classify",
            {"classify.audio": "x", "model.folder": "nowhere"},
            ["nowhere", "no trained encoder"],
        ),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_mistakes_are_explained(finished, tmp_path, pipeline, params, words):
    project = finished.copy_settings(tmp_path / "results")
    with pytest.raises(Exception, match=r"\w") as caught:
        project.run(pipeline, **params)
    assert not [word for word in words if word not in str(caught.value)], caught.value


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"model.seed": 3}, ["model.seed=3", "teacher-seed0-fold0"]),
        ({"model.source": "true_labels"}, ["model.source=true_labels", "shuffled-seed0-fold0"]),
        ({"model.task": "other"}, ["no trained model", "other."]),
    ],
)
def test_a_model_that_was_not_trained(project, new_audio, params, words):
    with pytest.raises(Exception, match=r"\w") as caught:
        project.run("classify", **{"classify.audio": str(new_audio)}, **params)
    assert not [word for word in words if word not in str(caught.value)], caught.value


def test_ones_own_data_need_not_be_named_again(own_data_run, class_folders, tmp_path):
    project = own_data_run.copy(tmp_path / "results")
    del project.params["data"]
    output = project.run("classify", **{"classify.audio": str(class_folders / "low")})
    assert "10 files" in output
    assert set(predictions(project)["label"]) <= {"low", "mid", "high"}
    output = project.run("export", **{"export.onnx": False})
    card = (project.data / "06_models/exported/README.md").read_text(encoding="utf-8")
    assert "for Büro sounds" in card
    assert "| **this model** |" in card
    trained_on = project.table("05_model_input/own_data/pseudo_labels.parquet")["clip_id"].nunique()
    assert f"trained on {trained_on} clips, 8 of them without a label of this task" in card


@pytest.mark.parametrize("damaged", ["", "{", '{"tasks": 3}', '{"tasks": [{"shown": "x"}]}'])
def test_a_damaged_record_of_the_last_run_stops_no_pipeline(untouched_project, caplog, damaged):
    study = untouched_project.data / "07_model_output/study.json"
    study.parent.mkdir(exist_ok=True)
    study.write_text(damaged)
    with untouched_project.session() as session:
        session.load_context()
        assert "unfused" in dict(pipelines)
    study.unlink()
    assert f"{study} is damaged" in caplog.text
    assert "model.task=<task>" in caplog.text
