from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from unfused.embeddings.embedder import EncoderEmbedder
from unfused.embeddings.read_out import ReadOut
from unfused.probes import fine_tuning
from unfused.probes.fine_tuning import fine_tune
from unfused.probes.probe import Probe
from unfused.probes.settings import LIGHT_VIEWS, FineTuningSettings
from unfused.training.checkpoint import CheckpointError
from unfused.training.settings import TrainingSettings

TRAINING = TrainingSettings(
    epochs=6, batch_size=16, learning_rate=3e-3, precision="fp32", checkpoint_seconds=0
)
SETTINGS = FineTuningSettings(training=TRAINING)
OWN = ReadOut(("fc2",), ("max+mean",))


@pytest.fixture(scope="module")
def task(tones, make_corpus):
    """20 clips to train on, 10 to validate on, 30 to test on."""

    def make(labels=tones[1], parts={"train": 20, "valid": 10, "test": 30}):  # noqa: B006
        return make_corpus(tones[0], labels, parts)

    return make


@pytest.fixture(scope="module")
def tune_in(task, make_trained):
    def run(folder, settings=SETTINGS, *, corpus=None, valid=True, cut="fc2"):
        corpus = corpus or task()
        return fine_tune(
            make_trained(d=16, cut=cut), corpus.part("train"),
            corpus.part("valid") if valid else None, settings,
            folder=folder, seed=0, device="cpu",
        )  # fmt: skip

    return run


@pytest.fixture
def tune(tune_in, tmp_path):
    return lambda settings=SETTINGS, *, folder=tmp_path, **options: tune_in(
        folder, settings, **options
    )


@pytest.fixture(scope="module")
def usual(tune_in, tmp_path_factory):
    """A finished training with the usual settings, and its folder; leave both alone."""
    folder = tmp_path_factory.mktemp("usual")
    return tune_in(folder), folder


def same_weights(first, second) -> bool:
    states = [found.embedder.trained.encoder.state_dict() for found in (first, second)]
    equal = all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    return equal and np.array_equal(first.head.linear.weight, second.head.linear.weight)


def validated(found):
    return found.history.dropna(subset=["validation_score"]).set_index("epoch")["validation_score"]


def test_twenty_labelled_clips_are_enough_to_learn_tones(tune, task):
    scratch = replace(
        SETTINGS, head="random", training=replace(TRAINING, epochs=50), validate_every=10
    )
    found, test = tune(scratch), task().part("test")
    vectors = found.embedder.embed(test, device="cpu")
    assert (found.head.named(found.head.probabilities(vectors)) == test.labels).mean() >= 0.9
    assert found.validation == validated(found).max()
    assert list(found.head.classes) == ["band0", "band1", "band2"]


def test_the_head_starts_as_the_calibrated_linear_probe(tune, task, make_trained):
    tiny = replace(TRAINING, epochs=1, learning_rate=1e-9, weight_decay=0.0, optimiser="sgd")
    found, train = tune(replace(SETTINGS, training=tiny)), task().part("train")
    vectors = EncoderEmbedder(make_trained(d=16), OWN).embed(train, device="cpu")
    probe = Probe(lda=False).fit(vectors, train.labels)
    expected = probe.decision_function(vectors) / probe.calibration_.temperature
    np.testing.assert_allclose(found.head.logits(vectors), expected, atol=0.02)
    assert abs(expected.std() - probe.decision_function(vectors).std()) > 0.1


def test_an_untrained_encoder_starts_with_a_random_head(task, make_trained, tmp_path):
    trained = make_trained(d=16)
    for name, buffer in trained.encoder.named_buffers():
        if name.endswith("num_batches_tracked"):
            buffer.zero_()
    heads = [
        fine_tune(
            trained, task().part("train"), None, replace(SETTINGS, head=head),
            folder=tmp_path / head, seed=0, device="cpu",
        ).head.linear.weight
        for head in ("linear_probe", "random")
    ]  # fmt: skip
    np.testing.assert_array_equal(*heads)


def test_the_epoch_is_the_first_best_on_validation(usual):
    found, _ = usual
    scores = validated(found)
    assert list(scores.index) == list(range(6))
    assert found.epoch == scores.idxmax()
    assert found.validation == scores.max()
    assert found.head.provenance["setting"] == f"epoch {found.epoch + 1}"


def failing_score(monkeypatch, at):
    score, calls = fine_tuning._Network.score, []

    def failing(self):
        calls.append(1)
        if len(calls) == at:
            raise RuntimeError("power cut")
        return score(self)

    monkeypatch.setattr(fine_tuning._Network, "score", failing)


def test_an_interrupted_run_ends_like_an_uninterrupted_one(usual, tune, tmp_path, monkeypatch):
    whole, _ = usual
    failing_score(monkeypatch, 4)
    with pytest.raises(RuntimeError, match="power cut"):
        tune(folder=tmp_path / "cut")
    resumed = tune(folder=tmp_path / "cut")
    assert same_weights(whole, resumed)
    assert (resumed.epoch, resumed.validation) == (whole.epoch, whole.validation)
    assert validated(resumed).equals(validated(whole))


def test_a_finished_run_is_loaded_not_repeated(usual, tune, monkeypatch):
    first, folder = usual
    monkeypatch.setattr(fine_tuning._Network, "score", lambda _: pytest.fail("validated again"))
    assert same_weights(first, tune(folder=folder))


def test_another_training_in_the_folder_is_refused(usual, tune, task, tones):
    _, folder = usual
    with pytest.raises(CheckpointError, match="other data, settings"):
        tune(folder=folder, corpus=task(np.roll(tones[1], 1)))
    with pytest.raises(CheckpointError, match="other data, settings"):
        tune(replace(SETTINGS, label_smoothing=0.1), folder=folder)


def test_the_curve_shows_the_validation_scores_where_they_were_measured(usual):
    found, _ = usual
    assert found.history["step"].is_monotonic_increasing
    last = found.history.iloc[-1]
    assert np.isfinite([last["loss"], last["validation_score"]]).all()


def test_without_validation_clips_the_last_epoch_is_taken(tune, task):
    found = tune(valid=False)
    assert found.epoch is None
    assert np.isnan(found.validation)
    assert "validation_score" not in found.history
    assert found.head.calibration.temperature == 1.0
    vectors = found.embedder.embed(task().part("test"), device="cpu")
    assert found.head.logits(vectors).shape == (30, 3)


def test_validation_can_be_rarer_and_always_includes_the_last_epoch(tune):
    assert list(validated(tune(replace(SETTINGS, validate_every=4))).index) == [3, 5]


def test_only_training_and_validation_clips_are_read(tune, tones, monkeypatch):
    store, read, crops = tones[0], set(), type(tones[0]).crops

    def recording(self, rows, *args, **options):
        read.update(np.asarray(rows).tolist())
        return crops(self, rows, *args, **options)

    monkeypatch.setattr(type(store), "crops", recording)
    tune()
    assert read == set(range(30))


def test_the_given_encoder_stays_as_it_is(task, make_trained, tmp_path):
    trained = make_trained(d=16, cut="block3")
    before = {key: value.clone() for key, value in trained.encoder.state_dict().items()}
    found = fine_tune(
        trained, task().part("train"), None, SETTINGS, folder=tmp_path, seed=0, device="cpu"
    )
    assert all(torch.equal(before[k], v) for k, v in trained.encoder.state_dict().items())
    tuned = found.embedder.trained.encoder
    assert not torch.equal(before["blocks.block1.0.weight"], tuned.blocks["block1"][0].weight)
    assert tuned.cut == "block3"
    assert found.embedder.read_out.statistics == ("mean",)


def test_one_class_is_refused(tune, task):
    one = task(np.full(60, "band0"))
    with pytest.raises(ValueError, match="at least 2 classes"):
        tune(corpus=one)
    with pytest.raises(ValueError, match="n_classes=1"):
        tune(replace(SETTINGS, head="random"), corpus=one)


def test_a_validation_class_that_no_training_clip_has_counts_as_errors(tune, task, tones):
    labels = tones[1].astype(object)
    labels[20:25] = "theremin"
    found = tune(corpus=task(labels))
    assert found.validation <= 0.75  # one class of four cannot be right
    assert np.isfinite(found.head.calibration.temperature)


def test_training_stops_when_patience_runs_out(tune, tmp_path, monkeypatch):
    scores = iter([0.5, 0.7, 0.7, 0.6, 0.9, 0.9])
    monkeypatch.setattr(fine_tuning._Network, "score", lambda _: next(scores))
    stopped = tune(replace(SETTINGS, patience=2), folder=tmp_path / "a")
    assert validated(stopped).tolist() == [0.5, 0.7, 0.7, 0.6]
    assert stopped.epoch == 1
    assert stopped.history["epoch"].max() == 3
    monkeypatch.setattr(fine_tuning._Network, "score", lambda _: pytest.fail("went on"))
    assert same_weights(stopped, tune(replace(SETTINGS, patience=2), folder=tmp_path / "a"))


def test_training_stops_where_nothing_can_be_better(tune, monkeypatch):
    scores = iter([0.5, 1.0])
    monkeypatch.setattr(fine_tuning._Network, "score", lambda _: next(scores))
    assert validated(tune(SETTINGS)).tolist() == [0.5, 1.0]


def test_patience_that_lasts_changes_nothing(usual, tune):
    assert same_weights(usual[0], tune(replace(SETTINGS, patience=6)))


def test_mixup_and_masks_train_other_weights_and_can_be_resumed(usual, tune, tmp_path, monkeypatch):
    views = {**LIGHT_VIEWS, "freq_masks": 1, "time_masks": 1}
    settings = replace(SETTINGS, mixup_alpha=0.4, views=views)
    whole = tune(settings, folder=tmp_path / "whole")
    assert not same_weights(whole, usual[0])
    failing_score(monkeypatch, 3)
    with pytest.raises(RuntimeError, match="power cut"):
        tune(settings, folder=tmp_path / "cut")
    assert same_weights(whole, tune(settings, folder=tmp_path / "cut"))


def test_best_epoch_keeps_the_earlier_of_two_equals(tmp_path):
    layer, scores = torch.nn.Linear(1, 1), iter([0.5, 0.7, 0.7, 0.6])
    network = SimpleNamespace(
        method=layer, settings=SETTINGS, valid="clips", mark=lambda: "m", score=lambda: next(scores)
    )
    given = network, 4, tmp_path / "best.pt"
    best = fine_tuning._BestEpoch(*given)
    for epoch in range(4):
        torch.nn.init.constant_(layer.weight, epoch)
        best(epoch)
    best.restore()
    assert (best.epoch, best.score, layer.weight.item()) == (1, 0.7, 1.0)
    network.score = lambda: 0.7
    again = fine_tuning._BestEpoch(*given)
    again(1)  # told an epoch twice after a crash
    assert again.scores == {0: 0.5, 1: 0.7, 2: 0.7, 3: 0.6}
    assert again.epoch == 1


def test_several_labels_are_learnt(tones, make_corpus, make_trained, tmp_path):
    store, labels = tones
    sets = [f"{label}|loud" if i % 2 else label for i, label in enumerate(labels)]
    corpus = make_corpus(store, sets, {"train": 40, "valid": 20}, several=True)
    settings = FineTuningSettings(
        training=TrainingSettings(epochs=20, batch_size=10, learning_rate=5e-3, precision="fp32"),
        head="random",
    )
    train, valid = corpus.part("train"), corpus.part("valid")
    found = fine_tune(make_trained(), train, valid, settings, folder=tmp_path, seed=0, device="cpu")
    assert found.head.classes.tolist() == ["band0", "band1", "band2", "loud"]
    logits = found.head.logits(found.embedder.embed(valid, device="cpu"))
    tone = valid.kind.targets(valid.labels, found.head.classes)[:, :3]
    assert average_precision_score(tone, logits[:, :3]) > 0.95
