"""``classify`` and ``export`` on a finished run: new audio in, labels and files for others out."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import soundfile

from unfused import load_classifier
from unfused.core.errors import UserError

NEW, MODEL = "07_model_output/new_audio", "07_model_output/model"


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
    assert set(rows["top_1"]) <= set(manifest["label"])
    assert (rows["label"] == rows["top_1"].where(~rows["unknown"], "unknown")).all()
    ranked = rows[[f"probability_{rank}" for rank in range(1, 6)]].to_numpy()
    assert (np.diff(ranked) <= 0).all()
    assert (ranked.sum(axis=1) <= 1.001).all()
    embeddings = project.table(f"{NEW}/embeddings.parquet")
    pd.testing.assert_frame_equal(
        embeddings[["path", "start_seconds", "end_seconds"]],
        rows[["path", "start_seconds", "end_seconds"]],
    )
    assert len(embeddings.filter(regex=r"^e\d+$")) == 6


def test_bad_files_are_listed_with_their_reasons(project, classified):
    rejected = pd.read_csv(project.data / NEW / "rejected_audio.csv")
    reasons = {path.rsplit("/", 1)[1]: why for path, why in rejected[["path", "reason"]].to_numpy()}
    assert set(reasons) == {"broken.wav", "no audio.mp3"}
    assert all(reasons.values())


def test_nothing_is_trained(classified):
    assert "training" not in classified
    assert "built" not in classified
    assert "predictions.csv" in classified


def test_a_file_is_enough(project, classified, new_audio):
    given = {"classify.audio": str(new_audio / "deep" / "long.flac")}
    given |= {"classify.segment_seconds": 3.0, "classify.label_tracks": "audacity"}
    project.run("classify", **given)
    assert predictions(project)["start_seconds"].tolist() == [0, 1.3]
    tracks = project.data / "07_model_output/new_audio/label_tracks"
    assert [path.name for path in tracks.iterdir()] == ["long.txt"]


def test_another_model_and_a_table(project, new_audio, tmp_path):
    table, path = tmp_path / "clips.csv", new_audio / "deep" / "long.flac"
    table.write_text(f'path,offset,frames,label\n"{path}",8000,8000,whatever\n')
    given = {"classify.audio": str(table), "classify.top_k": 1}
    project.run("model", **{"model.encoder": "decar", "model.protocol": "linear_probe"})
    kept = load_classifier(project.data / MODEL)
    assert kept.facts_["encoder"] == "decar"
    project.run("classify", **given)
    rows = predictions(project)
    assert rows[["start_seconds", "end_seconds"]].to_numpy().tolist() == [[1, 2]]
    assert "top_2" not in rows
    project.run("model", **{"model.encoder": "supervised"})
    project.run("classify", **given)
    samples = soundfile.read(path, dtype="float32")[0][8000:16000]
    said = load_classifier(project.data / MODEL).predict(samples, sample_rate=8000)
    assert len(said.probabilities) == 12
    np.testing.assert_allclose(predictions(project)["probability"], said.probability, atol=0.05)
    project.run("model")


@pytest.fixture(scope="module")
def exported(project):
    log = project.run("export")
    return project.data / "07_model_output/exported_model", log


def test_an_export_is_whole(exported, project):
    folder, _ = exported
    classifier = load_classifier(folder)
    assert len(classifier.classes_) == 12
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "for Instruments" in card.splitlines()[0]
    licence = card.partition("## Licence")[2]
    assert "Instruments: rendered from" in licence
    assert "GPL-2" in licence
    facts = json.loads((folder / "onnx.json").read_text())
    assert (facts["file"] is None) == bool(facts.get("why"))
    if facts["file"]:
        assert (folder / facts["file"]).is_file()
        assert facts["relative"] < 1e-3


def test_a_copy_classifies_where_nothing_was_trained(exported, project, new_audio, tmp_path):
    shutil.copytree(exported[0], tmp_path / "copy")
    elsewhere = project.copy_settings(tmp_path / "elsewhere")
    elsewhere.run(
        "classify", **{"classify.audio": str(new_audio), "model_folder": str(tmp_path / "copy")}
    )
    assert len(predictions(elsewhere)) == 6


@pytest.mark.parametrize(
    ("pipeline", "params", "words"),
    [
        ("classify", {}, ["new_audio="]),
        ("classify", {"classify.audio": "x"}, ["model", "--pipelines=unfused"]),
        ("export", {}, ["model", "--pipelines=unfused"]),
        ("classify", {"new_adio": "x"}, ["new_adio", "'new_audio'"]),
        ("classify", {"classify.topk": 3}, ["classify.topk", "'top_k'"]),
        ("classify", {"classify.audio": "x", "model_folder": "nowhere"}, ["model"]),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_mistakes_are_explained(finished, tmp_path, pipeline, params, words):
    project = finished.copy_settings(tmp_path / "results")
    with pytest.raises(UserError) as caught:
        project.run(pipeline, **params)
    assert not [word for word in words if word not in str(caught.value)], caught.value


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"model.encoder": "dekar"}, ["dekar", "decar"]),
        ({"model.encoder": "unfused", "model.seed": 3}, ["3"]),
        ({"model.source": "true_labels"}, ["true_labels", "shuffled"]),
        ({"model.task": "other"}, ["model.task", "other"]),
    ],
)
def test_a_model_that_was_not_trained(project, params, words):
    with pytest.raises(UserError) as caught:
        project.run("model", **params)
    assert not [word for word in words if word not in str(caught.value)], caught.value


def test_ones_own_data_need_not_be_named_again(own_data_run, class_folders, tmp_path):
    project = own_data_run.copy(tmp_path / "results")
    del project.params["data"]
    output = project.run("classify", **{"classify.audio": str(class_folders / "low")})
    assert "10 files" in output
    assert set(predictions(project)["top_1"]) <= {"low", "mid", "high"}
    project.run("export", **{"export.onnx": False})
    card = project.data / "07_model_output/exported_model/README.md"
    assert "Büro sounds" in card.read_text(encoding="utf-8")
