import numpy as np
import pandas as pd
import pytest
import torch

from unfused.data.log_mel import FrontEnd
from unfused.data.store import LogMelStore
from unfused.views import fit_centroids
from unfused.views.k_mix_centroids import centroid_table, centroids_of


class Means:
    """A store of given time-means that counts what is read at once."""

    def __init__(self, means):
        self.means, self.read = np.asarray(means, dtype=np.float32), []

    def time_means(self, rows):
        self.read.append(np.asarray(rows))
        return self.means[rows]


def blobs(n_each=20):
    rng = np.random.default_rng(0)
    centres = np.array([[-10.0, -3.0], [0.0, 4.0], [8.0, -8.0]])
    return Means(np.concatenate([c + rng.normal(0, 0.1, (n_each, 2)) for c in centres])), centres


def test_centroids_are_where_the_clips_are():
    store, centres = blobs()
    centroids, counts = fit_centroids(store, np.arange(60), n_centroids=3)
    order = centroids[:, 0].argsort()
    np.testing.assert_allclose(centroids[order], centres, atol=0.1)
    assert counts.tolist() == [20, 20, 20]


@pytest.mark.parametrize(("n_clips", "k"), [(1, 1), (9, 1), (19, 1), (29, 2), (60, 6)])
def test_no_more_centroids_than_a_tenth_of_the_clips(n_clips, k):
    centroids, counts = fit_centroids(blobs()[0], np.arange(n_clips))
    assert centroids.shape == (k, 2)
    assert counts.sum() == n_clips


def test_of_many_clips_a_seeded_sample_is_read_in_order_and_in_pieces():
    store = Means(np.random.default_rng(0).normal(size=(2000, 3)))
    first = fit_centroids(store, np.arange(500, 2000), n_centroids=8, max_clips=600, seed=1)
    rows = np.concatenate(store.read)
    assert len(rows) == len(set(rows.tolist())) == 600
    assert (np.diff(rows) > 0).all()
    assert rows.min() >= 500
    assert max(map(len, store.read)) <= 256
    again = fit_centroids(store, np.arange(500, 2000), n_centroids=8, max_clips=600, seed=1)
    other = fit_centroids(store, np.arange(500, 2000), n_centroids=8, max_clips=600, seed=2)
    assert torch.equal(first[0], again[0])
    assert not torch.equal(first[0], other[0])


def test_time_means_are_those_of_whole_clips(tmp_path):
    rng = np.random.default_rng(0)
    clips = {str(i): rng.normal(-6, 3, (30 + i, 16)).astype(np.float16) for i in range(12)}
    store = LogMelStore.write(tmp_path, FrontEnd(n_mels=16), clips)
    centroids, _ = fit_centroids(store, np.arange(12), n_centroids=1)
    expected = np.mean([clip.astype(np.float64).mean(0) for clip in clips.values()], axis=0)
    np.testing.assert_allclose(centroids[0], expected, atol=1e-4)


def test_a_table_holds_the_centroids_of_every_fold():
    folds = {fold: torch.randn(k, 3) for fold, k in ((1, 4), (2, 2))}
    table = pd.concat(
        [
            centroid_table(c, torch.arange(len(c))).assign(fold=fold).sample(frac=1, random_state=0)
            for fold, c in folds.items()
        ]
    )
    for fold, centroids in folds.items():
        np.testing.assert_array_equal(centroids_of(table, fold), centroids.numpy())
    assert centroids_of(table, 1).flags.writeable


@pytest.mark.parametrize(
    "arguments", [{"n_centroids": 0}, {"max_clips": 0}, {"rows": np.arange(0)}]
)
def test_nothing_to_cluster_is_refused(arguments):
    with pytest.raises(ValueError, match="at least 1"):
        fit_centroids(blobs()[0], **{"rows": np.arange(60), **arguments})
