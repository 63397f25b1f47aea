"""The nodes of UnFuSeD, called as Kedro calls them."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from unfused.encoders import read_trained_on, save_encoder
from unfused.encoders.trained import EncoderCollection
from unfused.params import Distillation, EncoderParams, PseudoLabels, Run, Unfused
from unfused.pipelines.unfused.nodes import cluster_pseudo_labels, distil_students
from unfused.tasks.corpus import Corpus

CONTROLS = ["random_encoder", "mfcc_statistics", "shuffled", "true_labels"]


@pytest.fixture
def study(tones, make_trained, tmp_path):
    store, labels = tones
    clips = pd.DataFrame({"clip_id": store.clip_ids, "corpus": "toy", "digest": store.clip_ids})
    clips = clips.assign(offset=0, frames=1, label=labels, group=None, multi_label=False)
    parts = [np.where(np.arange(60) % 2 == fold, "test", "train") for fold in (0, 1)]
    audio = clips[["clip_id", "digest", "offset", "frames"]]
    splits = pd.concat([audio.assign(fold=i, split=part) for i, part in enumerate(parts)])
    save_encoder(tmp_path / "teacher", make_trained(), clips.iloc[:0])
    teachers = EncoderCollection({"seed0-fold0": tmp_path / "teacher"})
    corpus = Corpus.of(store, clips, splits, name="tones")
    return teachers, corpus, Run(seeds=[0], device="cpu", folder=tmp_path / "models")


def test_students_of_every_fold_and_source(study):
    teachers, corpus, run = study
    evaluation = SimpleNamespace(transductive=False)
    clustering = PseudoLabels(controls=CONTROLS, read_out={"taps": ["block3"]})
    labels, quality, points = cluster_pseudo_labels(teachers, corpus, clustering, evaluation, run)
    splits = corpus.splits
    for fold, of_fold in labels.groupby("fold"):
        train = splits.loc[(splits["fold"] == fold) & (splits["split"] == "train"), "clip_id"]
        for _, of_source in of_fold.groupby("source"):
            assert set(of_source["clip_id"]) == set(train)
    found = pd.DataFrame(quality).set_index(["source", "fold"])
    assert len(found) == 2 * (1 + len(CONTROLS))
    assert found.loc[("true_labels", 0), "ami"] == pytest.approx(1)
    assert set(points["clip_id"]) == set(labels.loc[labels["fold"] == 0, "clip_id"])
    distillation = Distillation(
        embeddings=True,
        training={"clip_updates": 24, "batch_size": 12, "log_every": 1, "precision": "fp32"},
    )
    unfused = Unfused(pseudo_labels=clustering, distillation=distillation)
    encoder = EncoderParams(name="audio_ntt", settings={"d": 16, "channels": 8})
    few = labels[labels["source"].isin(["teacher", "shuffled"])]
    students, history = distil_students(teachers, few, corpus, unfused, encoder, run)
    sources = {"teacher", "shuffled", "embeddings"}
    assert set(students.names()) == {
        f"{source}-seed0-fold{fold}/{kind}"
        for source in sources
        for fold in (0, 1)
        for kind in ("student", "full")
    }
    assert set(history["source"]) == sources
    name = "embeddings-seed0-fold1/student"
    assert students.load(name).provenance["method"] == "embedding_distillation student"
    train = splits.loc[(splits["fold"] == 1) & (splits["split"] == "train"), "clip_id"]
    assert set(read_trained_on(students.folder(name))["clip_id"]) == set(train)
