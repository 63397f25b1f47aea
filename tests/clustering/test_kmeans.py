from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans as Reference
from sklearn.datasets import make_blobs
from sklearn.metrics import adjusted_mutual_info_score
from torch import Tensor

from unfused.clustering import KMeans
from unfused.clustering import kmeans as module


def blobs(n: int, dim: int, centres: int, std: float) -> Tensor:
    points, _ = make_blobs(n, dim, centers=centres, cluster_std=std, random_state=0)
    return torch.from_numpy(points).float()


@pytest.mark.parametrize(
    ("n", "dim", "k", "std"), [(1500, 32, 10, 3.0), (2000, 16, 100, 5.0), (800, 2, 30, 2.0)]
)
def test_inertia_is_within_two_per_cent_of_scikit_learn(
    n: int, dim: int, k: int, std: float
) -> None:
    points = blobs(n, dim, k, std)
    ours = KMeans(k, n_iterations=100, n_init=3).fit(points)
    theirs = Reference(k, n_init=3, max_iter=100, random_state=0).fit(points.numpy())
    assert ours.inertia_ <= 1.02 * theirs.inertia_


def test_converges_to_scikit_learns_solution_from_the_same_start() -> None:
    points = blobs(600, 5, 6, 4.0)
    ours = KMeans(6, init="random", n_iterations=300, seed=3).fit(points)
    start = KMeans(6, init="random", n_iterations=1, seed=3).fit(points).centroids_
    theirs = Reference(6, init=start.numpy(), n_init=1, max_iter=300, tol=0).fit(points.numpy())
    np.testing.assert_allclose(ours.centroids_, theirs.cluster_centers_, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(ours.labels_, theirs.labels_)
    assert ours.inertia_ == pytest.approx(theirs.inertia_, rel=1e-5)


def test_labels_are_the_nearest_centroids_and_inertia_their_distances() -> None:
    points = blobs(300, 4, 5, 2.0)
    kmeans = KMeans(5).fit(points)
    distances = torch.cdist(points.double(), kmeans.centroids_.double())
    assert torch.equal(kmeans.labels_, distances.argmin(dim=1))
    assert torch.equal(kmeans.predict(points), kmeans.labels_)
    assert kmeans.inertia_ == pytest.approx(distances.min(dim=1).values.square().sum().item())


def test_far_from_the_origin_clusters_are_still_told_apart() -> None:
    points = blobs(200, 3, 4, 0.05) / 10
    near, far = KMeans(4).fit(points), KMeans(4).fit(points + 1000.0)
    assert adjusted_mutual_info_score(near.labels_, far.labels_) == pytest.approx(1.0)
    assert torch.equal(far.predict(points + 1000.0), far.labels_)


@pytest.mark.parametrize("init", ["kmeans++", "random"])
def test_same_seed_same_clusters_whatever_the_global_state(init: str) -> None:
    points = blobs(400, 8, 7, 5.0)
    torch.manual_seed(1)
    first = KMeans(7, init=init, seed=5).fit(points)
    torch.manual_seed(2)
    second = KMeans(7, init=init, seed=5).fit(points)
    other = KMeans(7, init=init, seed=6).fit(points)
    assert torch.equal(first.centroids_, second.centroids_)
    assert not torch.equal(first.centroids_, other.centroids_)


def test_chunks_give_the_same_clusters(monkeypatch: pytest.MonkeyPatch) -> None:
    points = blobs(1000, 6, 8, 3.0)
    whole = KMeans(8).fit(points)
    monkeypatch.setattr(module, "_CHUNK_ELEMENTS", 8)
    chunked = KMeans(8).fit(points)
    assert torch.equal(whole.labels_, chunked.labels_)
    torch.testing.assert_close(whole.centroids_, chunked.centroids_)


def test_both_ways_to_sum_by_label_agree() -> None:
    points, labels = torch.randn(50, 3), torch.randint(4, (50,))
    one_hot = torch.nn.functional.one_hot(labels, 5).float().T @ points
    torch.testing.assert_close(module._sum_by_label(points, labels, 5), one_hot)


def test_empty_clusters_are_reseeded_where_the_inertia_is() -> None:
    """Half of the points are copies of one: a random start puts several centroids on them."""
    points = torch.cat([torch.full((60, 2), 100.0), blobs(60, 2, 6, 0.01)])
    for seed in range(10):
        kmeans = KMeans(4, init="random", seed=seed).fit(points)
        assert torch.bincount(kmeans.labels_, minlength=4).min() > 0


def test_more_clusters_than_different_points_ends_without_nan() -> None:
    points = torch.tensor([[0.0, 1.0], [2.0, 3.0]]).repeat(10, 1)
    kmeans = KMeans(5).fit(points)
    assert torch.isfinite(kmeans.centroids_).all()
    assert kmeans.inertia_ == pytest.approx(0.0, abs=1e-6)


def test_more_starts_never_give_a_worse_result() -> None:
    points = blobs(300, 2, 12, 0.4)
    one = KMeans(12, init="random", seed=1).fit(points)
    many = KMeans(12, init="random", seed=1, n_init=8).fit(points)
    assert many.inertia_ <= one.inertia_


def test_spherical_centroids_are_unit_and_found_by_dot_product() -> None:
    torch.manual_seed(0)
    directions = torch.nn.functional.normalize(torch.randn(4, 16), dim=1)
    truth = torch.arange(200) % 4
    points = torch.nn.functional.normalize(directions[truth] + 0.1 * torch.randn(200, 16), dim=1)
    kmeans = KMeans(4, spherical=True, n_init=3).fit(points)
    torch.testing.assert_close(kmeans.centroids_.norm(dim=1), torch.ones(4))
    assert torch.equal(kmeans.labels_, (points @ kmeans.centroids_.T).argmax(dim=1))
    assert adjusted_mutual_info_score(truth, kmeans.labels_) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"n_clusters": 11}, "n_clusters=11.*10 points.*fewer clusters"),
        ({"n_clusters": 0}, "n_clusters=0"),
        ({"n_clusters": 2, "init": "zeros"}, "init='zeros' is unknown"),
        ({"n_clusters": 2, "n_iterations": 0}, "n_iterations=0"),
    ],
)
def test_refuses_what_has_no_meaning(settings: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        KMeans(**settings).fit(torch.randn(10, 2))


@pytest.mark.parametrize(
    ("points", "words"),
    [
        (torch.tensor([[1.0], [float("nan")]]), "NaN or infinite"),
        (torch.ones(5), "expected .N, D. floating point"),
        (torch.ones(5, 2, dtype=torch.long), "torch.int64"),
    ],
)
def test_refuses_points_of_another_kind(points: Tensor, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        KMeans(2).fit(points)
