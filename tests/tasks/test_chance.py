"""With labels swapped at random among all clips of a task nothing can be learnt.

If any path of evaluation let a test label through, its score would be above chance.
"""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from unfused.probes.embedding_cache import ClipEmbeddings, embed_candidate
from unfused.probes.frozen_evaluation import evaluate_frozen
from unfused.tasks.label_budgets import LabelBudget
from unfused.tasks.task_data import TaskData

from unfused.core.repeats import Repeat
from unfused.data.log_mel import FrontEnd
from unfused.data.store import LogMelStore
from unfused.probes.candidates import Candidate
from unfused.probes.label_efficiency import EfficiencySettings, probe_with_few_labels

K, N, N_TEST, SHUFFLES = 4, 240, 120, 6
ARM, CUT = Repeat(0, 0), "block3"
RARE = 1e-6  # how often a test of pure chance would fail


@pytest.fixture(scope="module")
def truth():
    return (np.arange(N) % K).astype(str)


@pytest.fixture
def embedded(tmp_path, truth, make_trained):
    """A task of easy tones with one encoder's embeddings on disk."""
    rng = np.random.default_rng(0)
    log_mels = {}
    for i, code in enumerate(truth.astype(int)):
        clip = rng.normal(size=(int(rng.integers(20, 60)), 64)) - 8
        clip[:, 8 + 12 * code : 12 + 12 * code] += 5
        log_mels[f"clip{i:03d}"] = clip.astype("f4")
    store = LogMelStore.write(tmp_path / "store", FrontEnd(), log_mels)
    seen = pd.DataFrame({"clip_id": [], "digest": [], "corpus": []})
    candidate = Candidate(
        "decar", "", (CUT,), "d", lambda: make_trained(d=16, cut=CUT), lambda: seen
    )
    folder = tmp_path / "embeddings"
    folder.mkdir()
    embed_candidate(
        folder, candidate, store, np.arange(N), protocol="whole_clip", seed=0, device="cpu"
    )
    return candidate, ClipEmbeddings(folder), store


def task_of(store, labels):
    names = store.clip_ids
    manifest = pd.DataFrame({"clip_id": names, "corpus": "tones", "digest": names, "offset": 0,
                             "frames": 9, "label": labels, "group": None})  # fmt: skip
    parts = np.random.default_rng(1).permutation(
        np.repeat(["train", "valid", "test"], [80, N - 80 - N_TEST, N_TEST])
    )
    splits = pd.DataFrame({"clip_id": names, "digest": names, "fold": 0, "split": parts})
    return TaskData(store, manifest, splits)


def hits_of_probes(embedded, labels):
    """Return protocol -> right answers on the test part."""
    candidate, embeddings, store = embedded
    found = evaluate_frozen(
        candidate, embeddings, task_of(store, labels), ARM,
        protocols=("linear_probe", "knn"), transductive=False, facts={},
    )["predictions"]  # fmt: skip
    return (found["label"] == found["predicted"]).groupby(found["protocol"]).sum()


def hits_with_few_labels(embedded, labels):
    candidate, embeddings, store = embedded
    settings = EfficiencySettings([LabelBudget(per_class=8)], draws=1)
    rows = probe_with_few_labels(
        candidate, embeddings, task_of(store, labels), ARM, "linear_probe", settings
    )
    return round(N_TEST * rows.set_index("metric")["value"]["accuracy"])


def chance(hits, n):
    """Return how rare so many or so few hits are by guessing."""
    return stats.binomtest(int(hits), n, 1 / K).pvalue


def shuffled(truth):
    rng = np.random.default_rng(2)
    return [rng.permutation(truth) for _ in range(SHUFFLES)]


def test_swapped_labels_give_chance(embedded, truth):
    total = sum(hits_of_probes(embedded, labels) for labels in shuffled(truth))
    assert set(total.index) == {"linear_probe", "knn"}
    assert all(chance(hits, SHUFFLES * N_TEST) > RARE for hits in total)
    true = hits_of_probes(embedded, truth)  # else chance would prove nothing
    assert all(chance(hits, N_TEST) < RARE and hits > N_TEST / K for hits in true)


def test_few_swapped_labels_give_chance(embedded, truth):
    total = sum(hits_with_few_labels(embedded, labels) for labels in shuffled(truth))
    assert chance(total, SHUFFLES * N_TEST) > RARE
    true = hits_with_few_labels(embedded, truth)
    assert chance(true, N_TEST) < RARE
    assert true > N_TEST / K


def test_a_label_that_leaks_would_be_seen(embedded, truth, monkeypatch):
    """The same swapped labels, with the answer hidden in one feature of every clip."""
    labels, matrix = shuffled(truth)[0], ClipEmbeddings.matrix

    def leaking(self, cut, rows):
        return np.column_stack([matrix(self, cut, rows), 10 * np.eye(K)[labels.astype(int)[rows]]])

    monkeypatch.setattr(ClipEmbeddings, "matrix", leaking)
    assert chance(hits_of_probes(embedded, labels)["linear_probe"], N_TEST) < RARE
