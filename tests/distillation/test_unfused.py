"""UnFuSeD as an estimator: what it may hear, what it learns, resume and reuse."""

import logging

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone

import unfused
from unfused.core import source
from unfused.core.outputs import OutputFolder
from unfused.data.log_mel import FrontEnd
from unfused.data.store import LogMelStore
from unfused.distillation.unfused import UnFuSeD, audio_to_learn
from unfused.embeddings.embedder import as_embedder
from unfused.embeddings.read_out import ReadOut
from unfused.encoders import load_encoder
from unfused.encoders.trained import read_trained_on
from unfused.tasks.corpus import Corpus

SMALL = {
    **{"encoder_settings": {"d": 16, "channels": 8}, "epochs": 2, "batch_size": 18},
    **{"precision": "fp32", "log_every": 1, "device": "cpu", "checkpoint_seconds": 0.0},
}


def small(teacher="mfcc_statistics", **changed):
    return UnFuSeD(teacher, **{"n_clusters": 3, **SMALL, **changed})


def same(one, two):
    pairs = zip(
        one.student_.encoder.state_dict().values(),
        two.student_.encoder.state_dict().values(),
        strict=True,
    )
    return all(torch.equal(a, b) for a, b in pairs)


def test_the_package_offers_it():
    assert unfused.UnFuSeD is UnFuSeD


def test_parameters_follow_scikit_learn():
    model = UnFuSeD("mfcc_statistics", n_clusters=5, clip_updates=500, optimiser_momentum=0.8)
    assert clone(model).get_params() == model.get_params()
    assert model.training.clip_updates == 500
    assert model.training.momentum == 0.8
    assert UnFuSeD("mfcc_statistics").training.clip_updates == 10_000
    assert UnFuSeD("mfcc_statistics", epochs=3).training.clip_updates is None
    assert model.set_params(learning_rate=0.1).training.learning_rate == 0.1
    shown = " ".join(repr(model).split())
    assert shown.startswith("UnFuSeD(clip_updates=500, learning_rate=0.1, n_clusters=5")
    with pytest.raises(ValueError, match="did you mean 'alpha'"):
        UnFuSeD("mfcc_statistics", alfa=0.5)
    with pytest.raises(ValueError, match="targets"):
        small(targets="labels").method  # noqa: B018


def test_a_fitted_one_has_labels_student_and_history(corpus, make_trained, tmp_path):
    teacher = make_trained()
    model = small(teacher, read_out=ReadOut(("block3",)), n_clusters=None).fit(corpus)
    audio = corpus.for_training()
    assert model.pseudo_labels_.index.tolist() == audio.clips["clip_id"].tolist()
    assert sorted(model.pseudo_labels_["pseudo_label"].unique()) == [0, 1, 2]  # as many as classes
    assert (model.student_.encoder.cut, model.full_.encoder.cut) == ("block3", "fc2")
    assert (model.student_.mean, model.student_.std) == audio.statistics
    assert model.student_.provenance["method"] == "unfused student"
    assert {"ce", "block_ce", "block_kl", "block_mse"} <= set(model.history_.columns)
    assert model.folder_ is None
    assert as_embedder(model, ReadOut()).dim == 3 * 64
    model.save(tmp_path)
    batch = torch.randn(2, 1, 64, 96)
    assert torch.equal(load_encoder(tmp_path).encoder(batch), model.student_.encoder(batch))
    assert read_trained_on(tmp_path)["clip_id"].tolist() == audio.clips["clip_id"].tolist()


def test_pseudo_labels_and_student_depend_on_no_label_and_no_held_out_clip(corpus, tmp_path):
    """Other labels, and noise in place of what is held out, change nothing, bit by bit."""
    heard, rng = set(corpus.for_training().clips["clip_id"]), np.random.default_rng(1)
    clips = {name: corpus.store.clip(row) for row, name in enumerate(corpus.store.clip_ids)}
    noise = {
        name: clip if name in heard else rng.normal(size=(90, 64)).astype(np.float32)
        for name, clip in clips.items()
    }
    names = corpus.clips["label"].dropna()
    shuffled = pd.Series(rng.permutation(names), names.index).reindex(corpus.clips.index)
    fitted = []
    for log_mels, labels in ((clips, corpus.clips["label"]), (noise, shuffled)):
        store = LogMelStore.write(tmp_path / str(len(fitted)), FrontEnd(), log_mels)
        of_both = Corpus.of(store, corpus.clips.assign(label=labels), corpus.splits)
        fitted.append(small().fit(of_both))
    assert not corpus.clips["label"].equals(shuffled)
    pd.testing.assert_frame_equal(fitted[0].pseudo_labels_, fitted[1].pseudo_labels_)
    assert same(*fitted)


def test_of_a_part_the_training_clips_are_heard_and_audio_without_labels_as_it_is(corpus):
    train, _ = corpus.split()
    heard = audio_to_learn(train).clips
    assert set(heard["clip_id"]) == set(corpus.part("train").clips["clip_id"])
    assert heard["label"].isna().all()
    whole = corpus.for_training(transductive=True)
    assert len(audio_to_learn(whole)) == len(corpus)
    with pytest.raises(ValueError, match="n_clusters=None"):
        small(n_clusters=None).cluster(whole)


def test_extra_audio_is_none_of_the_corpus(corpus, tmp_path):
    """A pool that holds the task's test audio under another name is heard without it."""
    names = [f"copy of {name}" for name in corpus.store.clip_ids]
    copies = {name: corpus.store.clip(row) for row, name in enumerate(names)}
    copies |= {f"new{i}": np.full((100, 64), float(i), np.float32) for i in range(5)}
    table = pd.DataFrame({"clip_id": list(copies), "corpus": "pool", "offset": 0, "frames": 1})
    digests = [*corpus.clips["digest"], *"vwxyz"]
    store = LogMelStore.write(tmp_path, FrontEnd(), copies)
    pool = Corpus.of(store, table.assign(digest=digests))
    audio = audio_to_learn(corpus, pool)
    own = corpus.for_training().clips["clip_id"].tolist()
    assert audio.clips["clip_id"].tolist() == [*own, *(f"new{i}" for i in range(5))]
    model = small(targets="embeddings").fit(corpus, extra=pool)
    assert len(model.trained_on_) == len(own) + 5
    with pytest.raises(ValueError, match="embeddings"):
        small().fit(corpus, extra=pool)


def test_a_regression_student_is_another_method(corpus):
    model = small(targets="embeddings", n_clusters=None).fit(corpus)
    assert model.pseudo_labels_ is None
    assert model.student_.provenance["method"] == "embedding_distillation student"
    assert {"distance_block3", "distance_fc2"} <= set(model.history_.columns)


def test_several_clusterings_at_once(corpus):
    model = small(n_clusters=[3, 6]).fit(corpus)
    counts = model.pseudo_labels_.nunique().to_dict()
    assert counts == {"pseudo_label": 3, "pseudo_label_6": 6}


def test_given_labels_are_learnt_in_any_order(corpus):
    labels = small().cluster(corpus).labels
    first = small().fit(corpus)
    again = small().fit(corpus, pseudo_labels=labels.sample(frac=1, random_state=0))
    assert same(first, again)
    other = labels.assign(pseudo_label=(labels["pseudo_label"] + np.arange(len(labels))) % 3)
    assert not same(first, small().fit(corpus, pseudo_labels=other))


def test_the_teachers_clips_count_as_heard(corpus, make_trained):
    seen = pd.DataFrame({"corpus": ["pool"], "clip_id": ["far away"], "digest": ["d"]})
    teacher = small().fit(corpus)
    teacher.trained_on_ = seen
    model = small(teacher).fit(corpus)
    assert "far away" in set(model.trained_on_["clip_id"])
    assert model.trained_on_.notna().all(axis=None)  # a missing position would hide a leak


def outcome(caplog, model, *data):
    caplog.clear()
    with caplog.at_level(logging.INFO):
        model.fit(*data)
    return any(record.message.startswith(("training", "resuming")) for record in caplog.records)


def test_what_is_there_is_reused_and_another_setting_trains_again(corpus, tmp_path, caplog):
    model = small(folder=tmp_path)
    assert outcome(caplog, model, corpus)
    first = clone(model)
    assert not outcome(caplog, first, corpus)
    assert same(model, first)
    pd.testing.assert_frame_equal(first.pseudo_labels_, model.pseudo_labels_)
    assert not outcome(caplog, clone(model).set_params(log_every=3), corpus)
    for change in ({"alpha": 0.3}, {"cut": "block2"}, {"n_clusters": 4}, {"targets": "embeddings"}):
        assert outcome(caplog, clone(model).set_params(**change), corpus), change
    fewer = corpus.take(corpus.clips["clip_id"][10:])
    assert outcome(caplog, clone(model), fewer)
    assert not outcome(caplog, clone(model).set_params(folder=OutputFolder(tmp_path)), corpus)


def test_editing_the_loss_trains_again(corpus, tmp_path, caplog, monkeypatch):
    model = small(folder=tmp_path)
    assert outcome(caplog, model, corpus)
    original = source._read

    def edited(module):
        code, imports = original(module)
        return code + ("\n1" if module == "distillation.loss" else ""), imports

    monkeypatch.setattr(source, "_read", edited)
    assert outcome(caplog, clone(model), corpus)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("targets", ["clusters", "embeddings"])
def test_an_interrupted_fit_ends_where_an_uninterrupted_one_does(
    corpus, tmp_path, monkeypatch, targets
):
    whole = small(targets=targets, folder=tmp_path / "whole").fit(corpus)
    stopped = small(targets=targets, folder=tmp_path / "stopped")
    after_step, steps = stopped.method.after_step, []

    def fail(self, step):
        after_step(self, step)
        steps.append(step)
        if len(steps) == 3:
            raise RuntimeError("power cut")

    with monkeypatch.context() as patch:
        patch.setattr(stopped.method, "after_step", fail)
        with pytest.raises(RuntimeError, match="power cut"):
            stopped.fit(corpus)
    stopped.fit(corpus)
    assert same(whole, stopped)
    columns = ["step", "loss"]
    pd.testing.assert_frame_equal(whole.history_[columns], stopped.history_[columns])
