from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import make_blobs
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_mutual_info_score as ami

from unfused.distillation.pseudo_labels import (
    Whiten,
    n_axes,
    on_sphere,
    on_spheres,
    pseudo_labels,
)
from unfused.embeddings.embedder import as_embedder
from unfused.tasks.corpus import Corpus


def clips(n: int = 400, dim: int = 24) -> tuple[np.ndarray, np.ndarray]:
    vectors, labels = make_blobs(n, dim, centers=5, cluster_std=2.0, random_state=0)
    return vectors.astype(np.float32), labels


def clusters(vectors: np.ndarray, k: int, whiten: Whiten = "auto", seed: int = 0) -> np.ndarray:
    return pseudo_labels(on_sphere(vectors, whiten), k, seed=seed)


def test_separate_classes_are_found() -> None:
    vectors, labels = clips()
    found = clusters(vectors, 5, whiten=4)
    assert ami(labels, found) == pytest.approx(1.0)
    assert np.bincount(found).tolist() == [80] * 5
    assert found.dtype == np.int64


def test_few_clips_are_whitened_to_few_axes() -> None:
    """Six classes in five strong directions under noise in hundreds, as of a real encoder.

    Scaled to the size of the five, the noise of 75 more axes hides the classes.
    """
    generator = np.random.default_rng(0)
    labels = np.arange(320) % 6
    signal = generator.normal(size=(6, 8))[labels] + 0.25 * generator.normal(size=(320, 8))
    decay = 0.5 * np.arange(1, 201) ** -0.3
    vectors = np.hstack([2.0 * signal, decay * generator.normal(size=(320, 200))])
    vectors = vectors @ np.linalg.qr(generator.normal(size=(208, 208)))[0]
    assert on_sphere(vectors).shape == (320, 10)
    assert ami(labels, clusters(vectors, 6)) > 0.9
    assert ami(labels, clusters(vectors, 6, whiten=128)) < 0.5


def test_axes_by_the_number_of_clips() -> None:
    asked = {"auto": [2, 2, 10, 128], 128: [2, 16, 80, 128], 8: [2, 8, 8, 8], None: [None] * 4}
    for whiten, expected in asked.items():
        found = [n_axes((n, 1536), whiten) for n in (8, 64, 320, 50_000)]
        assert found == expected, whiten
    assert n_axes((1000, 3), "auto") == 3


@pytest.mark.parametrize("dim", [None, 5])
def test_points_are_scikit_learns_whitened_ones_of_length_1(dim: int | None) -> None:
    vectors, _ = clips(dim=12)
    points = on_sphere(vectors, dim)
    assert points.dtype == np.float32
    if dim:
        expected = PCA(dim, whiten=True, svd_solver="full").fit_transform(vectors.astype(float))
    else:
        expected = vectors - vectors.mean(0, dtype=float)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    signs = np.sign((points * expected).sum(axis=0))
    np.testing.assert_allclose(points * signs, expected, atol=1e-5)


def test_an_offset_costs_no_precision() -> None:
    vectors, _ = clips()
    plain, moved = on_sphere(vectors.astype(float), 8), on_sphere(vectors.astype(float) + 1e4, 8)
    np.testing.assert_allclose(moved @ moved.T, plain @ plain.T, atol=1e-5)


@pytest.mark.parametrize("whiten", [None, 8])
def test_a_file_is_taken_some_rows_at_a_time(
    whiten: Whiten, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = clips()[0].astype(np.float16)
    np.save(tmp_path / "vectors.npy", vectors)
    whole = on_sphere(vectors, whiten)
    monkeypatch.setattr("unfused.distillation.pseudo_labels._ROWS", 70)
    mapped = np.load(tmp_path / "vectors.npy", mmap_mode="r")
    np.testing.assert_allclose(on_sphere(mapped, whiten), whole, atol=1e-6)


def test_of_several_embedders_the_loudest_does_not_decide_alone() -> None:
    vectors, labels = clips()
    loud = 1e4 * np.random.default_rng(0).normal(size=(len(vectors), 24))
    together = on_spheres([vectors, loud], 4)
    assert together.shape == (len(vectors), 8)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, rtol=1e-5)
    assert ami(labels, pseudo_labels(together, 5)) > 0.9
    assert ami(labels, clusters(np.concatenate([vectors, loud], axis=1), 5, whiten=8)) < 0.1
    np.testing.assert_array_equal(on_spheres([vectors], 4), on_sphere(vectors, 4))


def test_axes_without_variance_are_dropped() -> None:
    vectors, _ = clips(dim=3)
    doubled = np.hstack([vectors, 2.0 * vectors])
    assert on_sphere(doubled, 6).shape == (400, 3)


def test_same_seed_same_labels() -> None:
    points = on_sphere(np.random.default_rng(0).normal(size=(200, 10)), 8)
    first, second = (pseudo_labels(points, 6, seed=3) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, pseudo_labels(points, 6, seed=4))


@pytest.mark.parametrize(("n", "k"), [(10, 11), (10, 1)])
def test_number_of_clusters_is_checked(n: int, k: int) -> None:
    with pytest.raises(ValueError, match=rf"n_clusters={k}.*{n}"):
        pseudo_labels(np.random.default_rng(0).normal(size=(n, 3)), k)


@pytest.mark.parametrize("whiten", [None, 2, "auto"])
def test_collapsed_vectors_are_an_error(whiten: Whiten) -> None:
    with pytest.raises(ValueError, match="collapsed"):
        on_sphere(np.full((20, 3), 0.1, dtype=np.float32), whiten)


def test_bad_vectors_and_axes_are_errors() -> None:
    with pytest.raises(ValueError, match="finite"):
        on_sphere(np.full((20, 3), np.nan))
    with pytest.raises(ValueError, match="shape"):
        on_sphere(np.ones(20))
    with pytest.raises(ValueError, match="whiten=1 "):
        on_sphere(np.eye(20), 1)
    with pytest.raises(ValueError, match="whiten='few'"):
        on_sphere(np.eye(20), "few")


def test_clips_that_are_the_same_leave_clusters_empty(caplog: pytest.LogCaptureFixture) -> None:
    points = on_sphere(np.repeat(np.eye(3), 5, axis=0), None)
    found = pseudo_labels(points, 4)
    assert sorted(np.bincount(found, minlength=4).tolist()) == [0, 5, 5, 5]
    assert "1 of 4 clusters" in caplog.text


def test_labels_do_not_depend_on_torchs_state() -> None:
    vectors, _ = clips()
    torch.manual_seed(1)
    first = clusters(vectors, 9)
    torch.manual_seed(2)
    np.testing.assert_array_equal(first, clusters(vectors, 9))


def test_on_real_sounds_few_axes_say_more_about_the_classes(
    real_data: Path, tmp_path: Path
) -> None:
    corpus = Corpus(real_data / "esc10" / "labels.csv", folder=tmp_path)
    vectors = as_embedder("log_mel_statistics").embed(corpus)
    few, many = (ami(corpus.labels, clusters(vectors, 10, whiten)) for whiten in ("auto", 128))
    assert few > many + 0.1
