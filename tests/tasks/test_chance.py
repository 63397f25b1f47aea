"""With labels swapped at random among all clips of a task nothing can be learnt.

If any path of evaluation let a test label through, its score would be above chance.
"""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from unfused.core.outputs import OutputFolder
from unfused.data.log_mel import FrontEnd
from unfused.data.store import LogMelStore
from unfused.embeddings.read_out import ReadOut
from unfused.encoders import save_encoder
from unfused.probes.candidates import Candidate, Vectors, embed_candidates
from unfused.probes.evaluation import evaluate_frozen
from unfused.probes.label_efficiency import EfficiencySettings, probe_with_few_labels
from unfused.probes.results import TRAIN, TRAIN_VALID
from unfused.tasks.corpus import Corpus

K, N, N_TEST, SHUFFLES = 4, 240, 120, 6
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
    seen = pd.DataFrame({"clip_id": ["c"], "digest": ["d"], "corpus": ["pool"]})
    save_encoder(tmp_path / "encoder", make_trained(d=16, cut="block3"), seen)
    embedder = {"kind": "encoder", "read_out": ReadOut(("block3",)).settings()}
    candidate = Candidate("decar", "", 0, 0, embedder, str(tmp_path / "encoder")).described()
    outputs = OutputFolder(tmp_path / "embeddings")
    folders = embed_candidates([candidate], task_of(store, truth), outputs, device="cpu")
    return candidate, Vectors.load(folders[candidate.key]), store


def task_of(store, labels):
    names = store.clip_ids
    manifest = pd.DataFrame({"clip_id": names, "corpus": "tones", "digest": names, "offset": 0,
                             "frames": 9, "label": labels, "group": None})  # fmt: skip
    parts = np.random.default_rng(1).permutation(
        np.repeat(["train", "valid", "test"], [80, N - 80 - N_TEST, N_TEST])
    )
    splits = pd.DataFrame({"clip_id": names, "digest": names, "fold": 0, "split": parts})
    return Corpus.of(store, manifest, splits)


def hits_of_probes(embedded, labels):
    """Return (protocol, fitted on) -> right answers on the test part."""
    candidate, vectors, store = embedded
    corpus = task_of(store, labels)
    found = evaluate_frozen(candidate, vectors, corpus, protocols=("linear_probe", "knn"))
    rows = found["predictions"]
    return (rows["label"] == rows["predicted"]).groupby([rows["protocol"], rows["fitted_on"]]).sum()


def hits_with_few_labels(embedded, labels):
    candidate, vectors, store = embedded
    settings = EfficiencySettings([8], draws=1)
    corpus = task_of(store, labels)
    rows = probe_with_few_labels(candidate, vectors, corpus, "linear_probe", settings)
    return round(N_TEST * rows.set_index("metric")["value"]["accuracy"])


def chance(hits, n):
    """Return how rare so many or so few hits are by guessing."""
    return stats.binomtest(int(hits), n, 1 / K).pvalue


def shuffled(truth):
    rng = np.random.default_rng(2)
    return [rng.permutation(truth) for _ in range(SHUFFLES)]


def test_swapped_labels_give_chance(embedded, truth):
    total = sum(hits_of_probes(embedded, labels) for labels in shuffled(truth))
    both = (TRAIN, TRAIN_VALID)
    assert set(total.index) == {(p, f) for p in ("linear_probe", "knn") for f in both}
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
    labels, of = shuffled(truth)[0], Vectors.of

    def leaking(self, corpus):
        answers = 10 * np.eye(K)[labels.astype(int)[corpus.rows]]
        return np.column_stack([of(self, corpus), answers])

    monkeypatch.setattr(Vectors, "of", leaking)
    hits = hits_of_probes(embedded, labels)["linear_probe"]
    assert all(chance(number, N_TEST) < RARE for number in hits)
