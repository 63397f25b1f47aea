from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import make_blobs
from sklearn.metrics import normalized_mutual_info_score

from unfused.distillation.pseudo_labels import agreement, pseudo_labels


def clips(n: int = 400, dim: int = 24) -> tuple[np.ndarray, np.ndarray]:
    features, labels = make_blobs(n, dim, centers=5, cluster_std=2.0, random_state=0)
    return features.astype(np.float32), labels


def test_separate_classes_are_found() -> None:
    features, labels = clips()
    found = pseudo_labels(features, 5, whiten_dim=4)
    assert agreement(found.labels, labels)["ami"] == pytest.approx(1.0)
    assert found.sizes.tolist() == [80] * 5
    assert found.n_clusters == 5
    assert found.labels.dtype == np.int64


def test_scale_and_offset_of_the_features_do_not_matter() -> None:
    features, _ = clips()
    scales = np.random.default_rng(0).uniform(0.5, 2.0, features.shape[1]).astype(np.float32)
    found = pseudo_labels(features, 5, whiten_dim=None)
    tensor = pseudo_labels(torch.from_numpy(features), 5, whiten_dim=None)
    np.testing.assert_array_equal(found.labels, tensor.labels)
    white = pseudo_labels(features, 5, whiten_dim=24)
    moved = pseudo_labels(features * scales + 3.0, 5, whiten_dim=24)
    assert normalized_mutual_info_score(white.labels, moved.labels) > 0.95


def test_other_clips_get_the_cluster_of_their_kind() -> None:
    features, _ = clips()
    found = pseudo_labels(features, 5, whiten_dim=8)
    np.testing.assert_array_equal(found.predict(features), found.labels)
    np.testing.assert_array_equal(found.predict(features[:7]), found.labels[:7])


def test_same_seed_same_labels() -> None:
    features = np.random.default_rng(0).normal(size=(200, 10))
    first, second = (pseudo_labels(features, 6, seed=3) for _ in range(2))
    np.testing.assert_array_equal(first.labels, second.labels)
    assert not np.array_equal(first.labels, pseudo_labels(features, 6, seed=4).labels)


def test_few_clips_are_not_whitened_into_equal_distances() -> None:
    """As many axes as clips would put every pair at the same distance."""
    features, labels = clips(n=60, dim=200)
    found = pseudo_labels(features, 5, whiten_dim=128)
    assert found.whitening is not None
    assert len(found.whitening.scales_) == 15
    assert agreement(found.labels, labels)["ami"] > 0.9


@pytest.mark.parametrize(("n", "k"), [(10, 11), (10, 1)])
def test_number_of_clusters_is_checked(n: int, k: int) -> None:
    with pytest.raises(ValueError, match=rf"n_clusters={k} must be.*number of clips, {n}.*or add"):
        pseudo_labels(np.ones((n, 3)), k)


@pytest.mark.parametrize("whiten_dim", [None, 2])
def test_collapsed_features_are_an_error(whiten_dim: int | None) -> None:
    with pytest.raises(ValueError, match="collapsed"):
        pseudo_labels(np.ones((20, 3)), 4, whiten_dim=whiten_dim)


def test_features_that_are_not_finite_or_not_rows_are_errors() -> None:
    with pytest.raises(ValueError, match="NaN or infinite"):
        pseudo_labels(np.full((20, 3), np.nan), 4)
    with pytest.raises(ValueError, match="floating point"):
        pseudo_labels(np.ones((20, 3), dtype=int), 4)


def test_clips_that_are_the_same_leave_clusters_empty(caplog: pytest.LogCaptureFixture) -> None:
    features = np.repeat(np.eye(3), 5, axis=0)
    found = pseudo_labels(features, 4, whiten_dim=None)
    assert sorted(found.sizes.tolist()) == [0, 5, 5, 5]
    assert "1 of 4 clusters are empty" in caplog.text


def test_agreement_by_hand() -> None:
    """Two classes in two clusters, independent: no information."""
    scores = agreement([0, 1, 0, 1], ["a", "a", "b", "b"])
    assert scores["nmi"] == pytest.approx(0.0, abs=1e-9)
    assert scores["ami"] < 0.01
    assert agreement([1, 1, 0, 0], ["a", "a", "b", "b"]) == pytest.approx({"nmi": 1.0, "ami": 1.0})


def test_adjusted_information_forgives_no_random_clusters() -> None:
    generator = np.random.default_rng(0)
    scores = agreement(generator.integers(50, size=200), generator.integers(10, size=200))
    assert scores["nmi"] > 0.3
    assert abs(scores["ami"]) < 0.05


def test_unlabelled_clips_do_not_count() -> None:
    labels = ["a", None, "b", float("nan"), "", "b"]
    expected = agreement([0, 1, 1], ["a", "b", "b"])
    assert agreement([0, 0, 1, 1, 0, 1], labels) == expected
    assert np.isnan(agreement([0, 1], [None, None])["ami"])
    with pytest.raises(ValueError, match="2 pseudo-labels but 1 labels"):
        agreement([0, 1], ["a"])
