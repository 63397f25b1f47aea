"""The nodes of k-mix, called as the runner calls them."""

import numpy as np
import pandas as pd
import pytest

from unfused.core.outputs import OUTCOMES
from unfused.data.log_mel import FrontEnd
from unfused.data.store import LogMelStore
from unfused.params import KMixParams, Run
from unfused.pipelines.data_engineering.nodes import fit_kmix_centroids
from unfused.tasks.corpus import Corpus
from unfused.views.k_mix_centroids import centroids_of

K_MIX = KMixParams(n_centroids=5, n_examples=2, views={"mixup_bank": 40, "k_mix_furthest": 4})


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Two corpora of 30 clips; fold 1 leaves some clips of the first out, fold 2 others."""
    rng, stores = np.random.default_rng(0), []
    for name in ("a", "b"):
        clips = {
            f"{name}{i:02d}": rng.normal(-9 + i % 7, 2, (60 + i, 16)).astype(np.float32)
            for i in range(30)
        }
        stores.append(LogMelStore.write(tmp_path_factory.mktemp(name), FrontEnd(n_mels=16), clips))
    store = LogMelStore.union(stores)
    clips = pd.DataFrame({"clip_id": store.clip_ids, "corpus": "ab", "label": None})
    ids = clips["clip_id"]
    splits = [
        pd.DataFrame({"clip_id": ids[~ids.isin(held_out)], "fold": fold, "split": "unlabelled"})
        for fold, held_out in ((1, ids[:8]), (2, ids[8:16]))
    ]
    return Corpus.of(store, clips, pd.concat(splits), name="pretraining")


def without(corpus, clip_id, fold):
    splits = corpus.splits
    kept = (splits["clip_id"] != clip_id) | (splits["fold"] != fold)
    return Corpus.of(corpus.store, corpus.clips, splits[kept], name=corpus.name)


def test_each_fold_has_centroids_of_its_own_clips(tmp_path, corpus):
    table = fit_kmix_centroids(corpus, K_MIX, Run(seeds=[0], folder=tmp_path))
    assert table.groupby("fold").size().to_dict() == {1: 5, 2: 5}
    assert table.groupby("fold")["n_clips"].sum().to_dict() == {1: 52, 2: 52}
    assert not np.array_equal(centroids_of(table, 1), centroids_of(table, 2))


def test_centroids_are_reused_until_what_they_depend_on_changes(tmp_path, corpus):
    def fit(corpus=corpus, settings=K_MIX, fresh=False):
        OUTCOMES.clear()
        table = fit_kmix_centroids(corpus, settings, Run(seeds=[0], folder=tmp_path, fresh=fresh))
        return table, OUTCOMES["reused"]

    first, reused = fit()
    assert reused == 0
    again, reused = fit()
    assert reused == 2
    pd.testing.assert_frame_equal(again, first)
    assert fit(settings=K_MIX.model_copy(update={"n_examples": 9}))[1] == 2
    assert fit(without(corpus, "b29", 2))[1] == 1
    other, reused = fit(settings=K_MIX.model_copy(update={"seed": 1}))
    assert reused == 0
    assert not np.array_equal(centroids_of(other, 1), centroids_of(first, 1))
