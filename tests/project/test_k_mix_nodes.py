"""The nodes of k-mix, called as the runner calls them."""

import logging

import numpy as np
import pandas as pd
import pytest
from unfused.core.workspace import Workspace

from unfused.data.log_mel import FrontEnd
from unfused.data.store import LogMelStore
from unfused.params import KMixParams, Run
from unfused.pipelines.data_engineering.nodes import (
    draw_example_views,
    fill_kmix_bank,
    fit_kmix_centroids,
    measure_statistics,
)
from unfused.views.k_mix_centroids import centroids_of

RUN = Run(seeds=[0])
K_MIX = KMixParams(n_centroids=5, n_examples=2, views={"mixup_bank": 40, "k_mix_furthest": 4})


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    rng, found = np.random.default_rng(0), []
    for corpus in ("a", "b"):
        clips = {
            f"{corpus}{i:02d}": rng.normal(-9 + i % 7, 2, (60 + i, 16)).astype(np.float32)
            for i in range(30)
        }
        folder = tmp_path_factory.mktemp(corpus)
        found.append(LogMelStore.write(folder, FrontEnd(n_mels=16), clips))
    return found


@pytest.fixture
def clips(stores):
    """Fold 1 leaves some clips of the first corpus out, fold 2 others."""
    ids = [str(clip) for store in stores for clip in store.clip_ids]
    return pd.concat(
        [
            pd.DataFrame({"clip_id": [i for i in ids if i not in held_out]}).assign(fold=fold)
            for fold, held_out in ((1, ids[:8]), (2, ids[8:16]))
        ],
        ignore_index=True,
    )


def test_each_fold_has_centroids_of_its_own_clips(tmp_path, stores, clips):
    table = fit_kmix_centroids(Workspace(tmp_path / "w"), clips, K_MIX, RUN, *stores)
    assert table.groupby("fold").size().to_dict() == {1: 5, 2: 5}
    assert table.groupby("fold")["n_clips"].sum().to_dict() == {1: 52, 2: 52}
    alone = fit_kmix_centroids(
        Workspace(tmp_path / "v"), clips[clips["fold"] == 2], K_MIX, RUN, *stores
    )
    np.testing.assert_array_equal(centroids_of(alone, 2), centroids_of(table, 2))
    assert not np.array_equal(centroids_of(table, 1), centroids_of(table, 2))


def test_centroids_are_reused_until_what_they_depend_on_changes(tmp_path, stores, clips, caplog):
    caplog.set_level(logging.INFO)

    def fit(settings=K_MIX, run=RUN, clips=clips):
        caplog.clear()
        table = fit_kmix_centroids(Workspace(tmp_path), clips, settings, run, *stores)
        return table, sum(line.startswith("reused") for line in caplog.messages)

    first, reused = fit()
    assert reused == 0
    again, reused = fit()
    assert reused == 2
    pd.testing.assert_frame_equal(again, first)
    assert fit(K_MIX.model_copy(update={"n_examples": 9}))[1] == 2
    assert fit(run=Run(seeds=[0], fresh=True))[1] == 0
    one_less = clips.drop(clips.index[-1])  # of fold 2
    assert fit(clips=one_less)[1] == 1
    other, reused = fit(K_MIX.model_copy(update={"seed": 1}))
    assert reused == 0
    assert not np.array_equal(centroids_of(other, 1), centroids_of(first, 1))


def test_bank_and_examples_hold_the_first_folds_training_clips_alone(tmp_path, stores, clips):
    statistics = measure_statistics(clips, *stores)
    centroids = fit_kmix_centroids(Workspace(tmp_path), clips, K_MIX, RUN, *stores)
    bank = fill_kmix_bank(clips, statistics, centroids, K_MIX, *stores)
    trainable = set(clips.loc[clips["fold"] == 1, "clip_id"])
    assert len(bank.clusters) == 40
    assert set(bank.clip_ids) <= trainable
    gone = pd.DataFrame({"clip_id": ["a00"], "path": "/nowhere", "offset": 0, "frames": 1})
    gone = gone.assign(sample_rate=16000)
    shown = draw_example_views(clips, statistics, centroids, bank, K_MIX, *stores, gone, gone)
    assert len(shown.examples) == 2
    assert {example.pair.clip for example in shown.examples} <= trainable
