"""Controls of pseudo-labels, and how good clusters are."""

import numpy as np
import pandas as pd
import pytest

from unfused.distillation.controls import cluster_quality, labels_by_source
from unfused.distillation.unfused import UnFuSeD


def by_source(corpus, teacher, controls, *, audio=None, train=None):
    model = UnFuSeD(teacher, n_clusters=3, device="cpu")
    train = corpus.part("train") if train is None else train
    audio = train if audio is None else audio
    return labels_by_source(model, audio, train, controls)


def test_every_control_labels_the_clips_that_the_teacher_labels(corpus, make_trained):
    controls = ["shuffled", "random_encoder", "mfcc_statistics"]
    audio = corpus.for_training()
    found, points = by_source(corpus, make_trained(), controls, audio=audio)
    assert list(found) == ["teacher", *controls]
    for table in (*found.values(), points):
        assert table.index.tolist() == audio.clips["clip_id"].tolist()
    labels = {source: table["pseudo_label"].to_numpy() for source, table in found.items()}
    assert np.bincount(labels["shuffled"]).tolist() == np.bincount(labels["teacher"]).tolist()
    for source in controls:
        assert not np.array_equal(labels[source], labels["teacher"]), source
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), 1.0, rtol=1e-5)


def test_the_upper_bound_has_the_true_classes_of_training_clips_alone(corpus):
    train = corpus.part("train")
    bound = by_source(corpus, "mfcc_statistics", ["true_labels"])[0]["true_labels"]
    assert bound.index.tolist() == train.clips["clip_id"].tolist()
    assert pd.crosstab(train.labels, bound["pseudo_label"].to_numpy()).gt(0).to_numpy().sum() == 3
    truth = train.clips.set_index("clip_id")["label"]
    assert cluster_quality(bound["pseudo_label"], truth)["ami"] == pytest.approx(1.0)


@pytest.mark.parametrize("why", ["unlabelled", "transductive", "several labels"])
def test_the_upper_bound_is_refused_where_it_would_cheat(corpus, why):
    train, audio = corpus.part("train"), None
    if why == "several labels":
        train.clips = train.clips.assign(multi_label=True)
    else:
        audio = corpus.for_training(transductive=why == "transductive")
    with pytest.raises(ValueError, match="true_labels"):
        by_source(corpus, "mfcc_statistics", ["true_labels"], audio=audio, train=train)


def test_a_control_that_is_nothing_is_refused(corpus):
    with pytest.raises(ValueError, match="random_encoder"):
        by_source(corpus, "mfcc_statistics", ["random_encoder"])
    with pytest.raises(ValueError, match="nonsense"):
        by_source(corpus, "mfcc_statistics", ["nonsense"])


def quality(clusters, labels):
    names = [f"clip{i}" for i in range(len(clusters))]
    return cluster_quality(pd.Series(clusters, names), pd.Series(labels, names, dtype=object))


def test_quality_by_hand():
    """Two classes in two clusters: independent, then the same."""
    scores = quality([0, 1, 0, 1], ["a", "a", "b", "b"])
    assert scores["nmi"] == pytest.approx(0.0, abs=1e-9)
    assert scores["ami"] < 0.01
    same = quality([1, 1, 0, 0], ["a", "a", "b", "b"])
    assert same == {
        "clips": 4, "n_clusters": 2, "sizes": [2, 2], "n_labelled": 4,
        "nmi": pytest.approx(1.0), "ami": pytest.approx(1.0),
    }  # fmt: skip


def test_adjusted_information_forgives_no_random_clusters():
    generator = np.random.default_rng(0)
    scores = quality(generator.integers(50, size=200), generator.integers(10, size=200))
    assert scores["nmi"] > 0.3
    assert abs(scores["ami"]) < 0.05


def test_clips_without_a_label_do_not_count():
    scores = quality([0, 0, 1, 1, 0, 1], ["a", None, "b", float("nan"), "", "b"])
    expected = quality([0, 1, 1], ["a", "b", "b"])
    assert (scores["nmi"], scores["ami"]) == (expected["nmi"], expected["ami"])
    assert (scores["clips"], scores["n_labelled"]) == (6, 3)
    assert np.isnan(quality([0, 1], [None, None])["ami"])
