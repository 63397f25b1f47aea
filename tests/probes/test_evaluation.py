"""Evaluation learns nothing from test clips; swapped labels give chance."""

from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from unfused.data.log_mel import FrontEnd
from unfused.data.store import LogMelStore
from unfused.embeddings.embedder import EncoderEmbedder, load_embedder
from unfused.embeddings.read_out import ReadOut
from unfused.encoders import save_encoder
from unfused.probes.candidates import Candidate, Vectors
from unfused.probes.evaluation import (
    NETWORK,
    Heard,
    Plan,
    evaluate_fine_tuned,
    evaluate_frozen,
    fit_probe,
)
from unfused.probes.head import load_head
from unfused.probes.label_efficiency import (
    COLUMNS,
    draw_labelled,
    few_label_work,
    labels_given,
    probe_with_few_labels,
    train_with_few_labels,
)
from unfused.probes.results import (
    PREDICTION_COLUMNS,
    RESULT_COLUMNS,
    TRAIN,
    TRAIN_VALID,
    RowKeys,
    scored_rows,
)
from unfused.probes.settings import FineTuningSettings
from unfused.tasks.corpus import Corpus
from unfused.tasks.label_kinds import MULTI_LABEL
from unfused.tasks.leakage import LeakError
from unfused.training.settings import TrainingSettings

N, K, N_TEST, SHUFFLES = 240, 4, 120, 6
RARE = 1e-6  # how often a test of pure chance would fail
KEYS = RowKeys("unfused", "teacher", "block3 mean", "linear_probe", TRAIN, 1, 0)
TUNING = FineTuningSettings(
    training=TrainingSettings(epochs=2, batch_size=16, learning_rate=1e-3, precision="fp32")
)


@pytest.fixture(scope="module")
def truth():
    return (np.arange(N) % K).astype(str)


@pytest.fixture(scope="module")
def store(tmp_path_factory, truth):
    """Easy tones."""
    rng, log_mels = np.random.default_rng(0), {}
    for i, code in enumerate(truth.astype(int)):
        clip = rng.normal(size=(int(rng.integers(20, 60)), 64)) - 8
        clip[:, 8 + 12 * code : 12 + 12 * code] += 2
        log_mels[f"clip{i:03d}"] = clip.astype("f4")
    return LogMelStore.write(tmp_path_factory.mktemp("store"), FrontEnd(), log_mels)


@pytest.fixture
def candidate(tmp_path, make_trained):
    def make(seen=()):
        clips = pd.DataFrame({"corpus": "pool", "clip_id": list(seen), "digest": list(seen)})
        save_encoder(tmp_path / "encoder", replace(make_trained(d=16), name="audio_ntt"), clips)
        settings = {"kind": "encoder", "read_out": asdict(ReadOut(("block3",)))}
        bare = Candidate("decar", "", 0, 0, settings, str(tmp_path / "encoder"))
        return bare.described()

    return make


def task_of(store, labels, groups=None):
    names = store.clip_ids
    clips = pd.DataFrame({"clip_id": names, "corpus": "tones", "digest": names, "label": labels,
                          "group": groups})  # fmt: skip
    parts = np.random.default_rng(1).permutation(
        np.repeat(["train", "valid", "test"], [60, N - 60 - N_TEST, N_TEST])
    )
    splits = pd.DataFrame({"clip_id": names, "fold": 0, "split": parts})
    return Corpus.of(store, clips, splits)


@pytest.fixture
def vectors(candidate, store, truth):
    matrix = candidate().load().embed(task_of(store, truth), device="cpu")
    return Vectors(store.clip_ids, matrix, 10)


def evaluated(candidate, vectors, corpus, **options):
    return evaluate_frozen(candidate, vectors, corpus, protocols=("linear_probe", "knn"), **options)


def hits(found):
    right = found["label"] == found["predicted"]
    return right.groupby([found["protocol"], found["fitted_on"]]).sum()


def chance(n_hits, n):
    """Return how rare so many or so few hits are by guessing."""
    return stats.binomtest(int(n_hits), n, 1 / K).pvalue


def shuffled(truth):
    rng = np.random.default_rng(2)
    return [rng.permutation(truth) for _ in range(SHUFFLES)]


def test_both_figures_are_reported(candidate, vectors, store, truth):
    found = evaluated(candidate(), vectors, task_of(store, truth))
    results, predictions = found["results"], found["predictions"]
    assert tuple(results) == RESULT_COLUMNS
    assert tuple(predictions) == PREDICTION_COLUMNS
    assert set(results["fitted_on"]) == {TRAIN, TRAIN_VALID}
    assert len(predictions) == 2 * 2 * N_TEST
    probed = results[results["protocol"] == "linear_probe"]
    assert set(probed["metric"]) == {
        "accuracy",
        "balanced_accuracy",
        "macro_f1",
        "calibration_error",
    }
    facts = probed.iloc[0]
    assert (facts["task"], facts["read_out"]) == ("tones", "block3 mean+max+std")
    assert (facts["n_train"], facts["n_valid"], facts["n_test"]) == (60, 60, 120)
    assert (facts["parameters"], facts["dimension"]) == (10, vectors.matrix.shape[1])
    assert 0 < facts["validation"] <= 1
    assert facts["chosen_on"] == "validation"
    for fitted_on, rows in predictions[predictions["protocol"] == "linear_probe"].groupby(
        "fitted_on"
    ):
        accuracy = (rows["label"] == rows["predicted"]).mean()
        of_both = probed[(probed["fitted_on"] == fitted_on) & (probed["metric"] == "accuracy")]
        assert of_both["value"].item() == pytest.approx(accuracy)
        assert rows["probability"].between(1 / K, 1).all()


def test_swapped_labels_give_chance(candidate, vectors, store, truth):
    total = sum(
        hits(evaluated(candidate(), vectors, task_of(store, labels))["predictions"])
        for labels in shuffled(truth)
    )
    assert len(total) == 4
    assert all(chance(n_hits, SHUFFLES * N_TEST) > RARE for n_hits in total)
    true = hits(evaluated(candidate(), vectors, task_of(store, truth))["predictions"])
    assert all(chance(n, N_TEST) < RARE and n > N_TEST / K for n in true)  # else it proves nothing


def test_few_swapped_labels_give_chance(candidate, vectors, store, truth):
    def scored(labels):
        rows = probe_with_few_labels(
            candidate(), vectors, task_of(store, labels), "linear_probe", budgets=[8], draws=1
        )
        assert tuple(rows) == COLUMNS
        assert rows["n_labels"].between(30, 32).all()
        return round(N_TEST * rows.set_index("metric")["value"]["accuracy"])

    assert chance(sum(map(scored, shuffled(truth))), SHUFFLES * N_TEST) > RARE
    assert chance(scored(truth), N_TEST) < RARE


def test_a_label_that_leaks_would_be_seen(candidate, vectors, store, truth):
    """The same swapped labels, with the answer hidden in some features of every clip."""
    labels = shuffled(truth)[0]
    answers = 10 * np.eye(K, dtype=np.float32)[labels.astype(int)]
    leaking = vectors._replace(matrix=np.column_stack([vectors.matrix, answers]))
    found = hits(evaluated(candidate(), leaking, task_of(store, labels))["predictions"])
    assert chance(found["linear_probe", TRAIN], N_TEST) < RARE


def test_nothing_is_fitted_on_test_vectors_or_labels(candidate, vectors, store, truth):
    corpus = task_of(store, truth)
    honest = evaluated(candidate(), vectors, corpus)["predictions"]
    test = np.isin(store.clip_ids, corpus.part("test").clips["clip_id"])
    poisoned, strange = vectors.matrix.copy(), truth.copy()
    poisoned[np.flatnonzero(test)[60:]], strange[test] = 1e30, "0"
    found = evaluated(candidate(), vectors._replace(matrix=poisoned), task_of(store, strange))[
        "predictions"
    ]
    untouched = honest["clip_id"].isin(store.clip_ids[np.flatnonzero(test)[:60]])
    assert untouched.sum() == 4 * 60
    assert (found["predicted"] == honest["predicted"])[untouched].all()


def test_validation_clips_are_not_fitted_on_by_the_figure_that_says_so(vectors, store, truth):
    corpus = task_of(store, truth)
    train, valid = corpus.part("train"), corpus.part("valid")
    held = np.isin(store.clip_ids, valid.clips["clip_id"])
    moved = vectors.matrix.copy()
    moved[held] *= 3
    probes = [fit_probe("linear_probe", v, train, valid)
              for v in (vectors, vectors._replace(matrix=moved))]  # fmt: skip
    np.testing.assert_array_equal(probes[0].train_.mean, probes[1].train_.mean)
    assert not np.array_equal(probes[0].all_.mean, probes[1].all_.mean)


def test_what_no_seed_changes_learns_from_the_labels_that_every_seed_draws(store, truth):
    known = {"embedder": {}, "vectors": "somewhere"}
    listed = [Candidate("slicer", "", seed, 0, **known) for seed in (0, 1, 2)]
    listed += [Candidate(f"{a} statistics", "", 0, 0, **known) for a in ("mfcc", "log-mel")]
    how = {"seeds": [0, 1, 2], "protocols": ["linear_probe"]}
    work = list(few_label_work(listed, [], task_of(store, truth), **how))
    names = [name for name, _, _ in work]
    assert len({made["candidate"] for _, made, _ in work}) == len(set(names)) == 9
    for label in ("slicer", "mfcc statistics", "log-mel statistics"):
        assert [f"{label}-seed{seed}" in " ".join(names) for seed in (0, 1, 2)] == [True] * 3
    alone = few_label_work(listed[-1:], [], task_of(store, truth), **how)
    assert len(list(alone)) == 3


def few_of(candidate, vectors, corpus):
    how = {"budgets": [3], "draws": 2}
    return probe_with_few_labels(candidate, vectors, corpus, "linear_probe", **how)


def test_other_training_clips_are_heard_but_their_labels_are_not(candidate, vectors, store, truth):
    one = candidate()
    heard = few_of(one, vectors, task_of(store, truth))
    alone = few_of(one, vectors._replace(n_parameters=0), task_of(store, truth))
    columns = ["value", "validation"]
    assert not np.allclose(heard[columns], alone[columns])  # of plain statistics none are heard


def test_what_may_be_heard(vectors, store, truth, monkeypatch):
    corpus = task_of(store, truth)
    ids = Heard.of(vectors, corpus, 0).clip_ids
    train, valid = corpus.part("train"), corpus.part("valid")
    assert set(ids) == set(train.clips["clip_id"])
    others = Heard.of(vectors, corpus, 0).but([train.take(ids[:20]), valid])
    np.testing.assert_array_equal(others.features, vectors.of(corpus.take(ids[20:])))
    monkeypatch.setattr("unfused.probes.evaluation.MOST_UNLABELLED", 30)
    bare = train.clips["clip_id"][:25]
    labels = corpus.clips["label"].where(~corpus.clips["clip_id"].isin(bare))
    corpus = Corpus.of(store, corpus.clips.assign(label=labels), corpus.splits)
    ids = Heard.of(vectors, corpus, 0).clip_ids  # first those that have no label at all
    assert len(ids) == 30
    assert set(bare) < set(ids)
    joined = vectors._replace(n_parameters=-1)  # nobody knows how many
    assert len(Heard.of(joined, corpus, 0).clip_ids) == 30
    assert Heard.of(vectors._replace(n_parameters=0), corpus, 0) is None
    several = Corpus.of(store, corpus.clips.assign(multi_label=True), corpus.splits)
    assert Heard.of(vectors, several, 0) is None


def test_held_out_clips_are_not_heard(candidate, vectors, store, truth):
    corpus, one = task_of(store, truth), candidate()
    moved = vectors.matrix.copy()
    valid = np.isin(store.clip_ids, corpus.part("valid").clips["clip_id"])
    moved[valid] += 100
    expected = few_of(one, vectors, corpus)
    pd.testing.assert_frame_equal(few_of(one, vectors._replace(matrix=moved), corpus), expected)
    test = np.isin(store.clip_ids, corpus.part("test").clips["clip_id"])
    moved[test] += 100
    found = few_of(one, vectors._replace(matrix=moved), corpus)
    pd.testing.assert_series_equal(found["validation"], expected["validation"])


def test_an_encoder_that_has_seen_a_held_out_clip_is_refused(candidate, vectors, store, truth):
    corpus = task_of(store, truth)
    for part in ("valid", "test"):
        seen = corpus.part(part).clips["clip_id"].iloc[0]
        with pytest.raises(LeakError, match=f"such as {seen}"):
            evaluated(candidate([seen]), vectors, corpus)
        evaluated(candidate([seen]), vectors, corpus, transductive=True)
    evaluated(candidate([corpus.part("train").clips["clip_id"].iloc[0]]), vectors, corpus)


def test_unseen_test_labels_are_named_and_count_as_errors(candidate, vectors, store, truth, caplog):
    test = np.flatnonzero(
        np.isin(store.clip_ids, task_of(store, truth).part("test").clips["clip_id"])
    )
    strange = truth.astype(object)
    strange[test[:4]] = "theremin"
    found = evaluated(candidate(), vectors, task_of(store, strange))
    assert "['theremin']" in caplog.text
    assert "4 test clips count as errors" in caplog.text
    assert not (found["predictions"]["predicted"] == "theremin").any()


def test_a_network_is_trained_scored_and_kept(candidate, store, truth, tmp_path):
    corpus, plan = task_of(store, truth), Plan(TUNING, candidate())
    found = evaluate_fine_tuned(plan, corpus, tmp_path / "run", device="cpu")
    results, predictions = found["results"], found["predictions"]
    assert set(results["fitted_on"]) == {TRAIN}
    assert (results["protocol"] == "fine_tuning").all()
    assert results["validation"].notna().all()
    assert len(predictions) == N_TEST
    assert found["history"]["epoch"].max() == 1
    folder = tmp_path / "run" / NETWORK
    embedder, head = load_embedder(folder), load_head(folder)
    said = head.named(head.probabilities(embedder.embed(corpus.part("test"), device="cpu")))
    assert (said == predictions["predicted"].to_numpy()).all()
    assert set(corpus.part("train").clips["clip_id"]) <= set(embedder.trained_on["clip_id"])
    assert not (tmp_path / "run" / "training").exists()
    plain = Candidate("mfcc_statistics", "", 0, 0, {"kind": "mfcc_statistics"})
    with pytest.raises(ValueError, match="no encoder"):
        evaluate_fine_tuned(replace(plan, candidate=plain), corpus, tmp_path, device="cpu")


def test_training_with_few_labels_keeps_finished_scores(
    candidate, store, truth, tmp_path, monkeypatch
):
    corpus, plan = task_of(store, truth), Plan(TUNING, candidate())
    settings = {"budgets": [3, "100%"], "draws": 2, "device": "cpu"}
    first = train_with_few_labels(plan, corpus, tmp_path, **settings)
    assert first.groupby("budget")["draw"].nunique().to_dict() == {"3": 2, "100%": 1}
    assert set(first["n_labels"]) == {12, 60}
    monkeypatch.setattr(EncoderEmbedder, "embed", lambda *_, **__: pytest.fail("again"))
    pd.testing.assert_frame_equal(train_with_few_labels(plan, corpus, tmp_path, **settings), first)


LABELS = np.array(["a"] * 40 + ["b"] * 10 + ["c"] * 3)


def counts(chosen):
    return dict(zip(*np.unique(LABELS[chosen], return_counts=True), strict=True))


def test_budgets_are_per_class_or_shares_and_leave_no_class_out():
    chosen = draw_labelled(LABELS, 5, draw=0, seed=0)
    assert counts(chosen) == {"a": 5, "b": 5, "c": 3}
    assert (np.diff(chosen) > 0).all()
    assert counts(draw_labelled(LABELS, "10%", draw=0, seed=0)) == {"a": 4, "b": 1, "c": 1}
    assert len(draw_labelled(LABELS, "100 %", draw=0, seed=0)) == len(LABELS)
    sets = np.array(["a|b"] * 5 + ["a"] * 20, dtype=object)
    chosen = draw_labelled(sets, 2, draw=0, seed=0, kind=MULTI_LABEL)  # by the rarest
    assert sorted(sets[chosen]) == ["a", "a", "a|b", "a|b"]


def test_smaller_budgets_are_part_of_larger_ones_and_draws_differ():
    small, large, other = (
        set(draw_labelled(LABELS, n, draw=draw, seed=0).tolist())
        for n, draw in ((3, 0), (8, 0), (3, 1))
    )
    assert small < large
    assert small != other


@pytest.mark.parametrize("given", [0, -1, "0%", "120%", "some", "1.5", 2.5])
def test_other_budgets_are_refused(given):
    with pytest.raises(ValueError, match="such as 5, or a share"):
        labels_given(given, 10)


def test_rows_keep_scores_of_several_labels_and_say_what_is_likely(tones, make_corpus):
    store, _ = tones
    sets = np.array(["bell|dog", "rain", "dog"] * 20, dtype=object)
    corpus = make_corpus(store, sets, {"train": 57, "test": 3}, several=True)
    scores = np.array([[2.0, 1.0, -1.0], [-1.0, -1.0, 3.0], [-1.0, 2.0, -2.0]], np.float32)
    classes = np.array(["bell", "dog", "rain"])
    rows, said = scored_rows(KEYS, corpus.part("test"), scores, classes, n_test=3)
    assert rows["metric"].tolist() == ["mAP", "auc", "d_prime"]
    assert rows["value"].tolist()[:2] == [1.0, 1.0]
    assert said["classes"].unique().tolist() == ["bell|dog|rain"]
    np.testing.assert_array_equal(np.stack(said["scores"]), scores)
    assert said["predicted"].tolist() == ["bell|dog", "rain", "dog"]
    with pytest.raises(ValueError, match=r"\['n_clips'\] are no columns"):
        scored_rows(KEYS, corpus.part("test"), scores, classes, n_clips=3)
