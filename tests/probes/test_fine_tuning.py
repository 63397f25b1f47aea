from dataclasses import replace

import numpy as np
import pytest
import torch
from unfused.embeddings.embed import embed_clips
from unfused.probes.best_epoch import BestEpoch
from unfused.probes.linear_probe import LinearProbe

from unfused.probes import fine_tuning
from unfused.probes.fine_tuning import FineTuningSettings, fine_tune
from unfused.training.checkpoint import CheckpointError
from unfused.training.settings import TrainingSettings

TRAINING = TrainingSettings(
    epochs=6, batch_size=16, learning_rate=3e-3, precision="fp32", checkpoint_seconds=0
)
SETTINGS = FineTuningSettings(training=TRAINING)


@pytest.fixture
def tune(tones, make_trained, tmp_path):
    """Fine-tune on 20 clips, validate on 10; the other 30 are for testing."""
    store, labels = tones

    def run(settings=SETTINGS, *, folder=tmp_path, labels=labels, valid=range(20, 30), cut="fc2"):
        rows, valid = np.arange(20), np.array(valid, int)
        return fine_tune(
            make_trained(d=16, cut=cut), store, rows, labels[rows], valid, labels[valid],
            settings, folder=folder, seed=0, device="cpu",
        )  # fmt: skip

    return run


def same_weights(first, second) -> bool:
    states = (first.trained.encoder.state_dict(), second.trained.encoder.state_dict())
    equal = all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    return equal and torch.equal(first.classifier.weight, second.classifier.weight)


def test_twenty_labelled_clips_are_enough_to_learn_tones(tune, tones):
    store, labels = tones
    scratch = replace(
        SETTINGS, head="random", training=replace(TRAINING, epochs=50), validate_every=10
    )
    result = tune(scratch)
    test = np.arange(30, 60)
    assert (result.predict(store, test) == labels[test]).mean() >= 0.9
    assert result.score == result.validation["score"].max()
    assert list(result.classes) == ["band0", "band1", "band2"]


def test_the_head_starts_as_the_linear_probe(tune, tones, make_trained):
    store, labels = tones
    tiny = replace(TRAINING, epochs=1, learning_rate=1e-9, weight_decay=0.0, optimiser="sgd")
    result = tune(replace(SETTINGS, training=tiny))
    features = embed_clips(make_trained(d=16), store, np.arange(60))["fc2"]
    probe = LinearProbe().fit(features[:20], labels[:20], features[20:30], labels[20:30])
    logits = result.classifier(torch.from_numpy(features)).numpy()
    np.testing.assert_allclose(logits, probe.decision_function(features), atol=0.02)


def test_an_untrained_encoder_starts_with_a_random_head(tones, make_trained, tmp_path):
    store, labels = tones
    rows, trained = np.arange(20), make_trained(d=16)
    for name, buffer in trained.encoder.named_buffers():
        if name.endswith("num_batches_tracked"):
            buffer.zero_()
    heads = [
        fine_tune(
            trained, store, rows, labels[rows], [], [], replace(SETTINGS, head=head),
            folder=tmp_path / head, seed=0, device="cpu",
        ).classifier.weight
        for head in ("linear_probe", "random")
    ]  # fmt: skip
    assert torch.equal(*heads)


def test_the_epoch_is_the_first_best_on_validation(tune):
    result = tune()
    scores = result.validation.set_index("epoch")["score"]
    assert list(scores.index) == list(range(6))
    assert result.epoch == scores.idxmax()
    assert result.score == scores.max()


def test_an_interrupted_run_ends_like_an_uninterrupted_one(tune, tmp_path, monkeypatch):
    whole = tune(folder=tmp_path / "whole")
    calls = []

    def failing(*args, **options):
        calls.append(1)
        if len(calls) == 4:
            raise RuntimeError("power cut")
        return clip_logits(*args, **options)

    clip_logits = fine_tuning.clip_logits
    monkeypatch.setattr(fine_tuning, "clip_logits", failing)
    with pytest.raises(RuntimeError, match="power cut"):
        tune(folder=tmp_path / "cut")
    resumed = tune(folder=tmp_path / "cut")
    assert same_weights(whole, resumed)
    assert (resumed.epoch, resumed.score) == (whole.epoch, whole.score)
    assert resumed.validation.equals(whole.validation)


def test_a_finished_run_is_loaded_not_repeated(tune, monkeypatch):
    first = tune()
    monkeypatch.setattr(fine_tuning, "clip_logits", lambda *_: pytest.fail("validated again"))
    assert same_weights(first, tune())


def test_another_training_in_the_folder_is_refused(tune, tones):
    tune()
    with pytest.raises(CheckpointError, match="other clips, labels, weights or settings"):
        tune(labels=np.roll(tones[1], 1))
    with pytest.raises(CheckpointError, match="other clips, labels"):
        tune(replace(SETTINGS, label_smoothing=0.1))


def test_the_curve_shows_the_validation_scores_where_they_were_measured(tune):
    result = tune(SETTINGS)
    shown = result.history.dropna(subset=["validation_score"])
    assert shown["validation_score"].tolist() == result.validation["score"].tolist()
    assert shown["epoch"].tolist() == result.validation["epoch"].tolist()
    assert result.history["step"].is_monotonic_increasing
    last = result.history.iloc[-1]
    assert np.isfinite([last["loss"], last["validation_score"]]).all()


def test_without_validation_clips_the_last_epoch_is_taken(tune, tones):
    result = tune(valid=[])
    assert result.epoch is None
    assert result.score is None
    assert result.validation.empty
    assert "validation_score" not in result.history
    assert len(result.predict(tones[0], np.arange(30, 60))) == 30


def test_validation_can_be_rarer_and_always_includes_the_last_epoch(tune):
    assert list(tune(replace(SETTINGS, validate_every=4)).validation["epoch"]) == [3, 5]


def test_only_training_and_validation_clips_are_read(tune, tones, monkeypatch):
    store, read, crops = tones[0], set(), type(tones[0]).crops

    def recording(self, rows, *args, **options):
        read.update(np.asarray(rows).tolist())
        return crops(self, rows, *args, **options)

    monkeypatch.setattr(type(store), "crops", recording)
    tune()
    assert read == set(range(30))


def test_the_given_encoder_stays_as_it_is(tones, make_trained, tmp_path):
    store, labels = tones
    trained = make_trained(d=16, cut="block3")
    before = {key: value.clone() for key, value in trained.encoder.state_dict().items()}
    rows = np.arange(20)
    result = fine_tune(
        trained, store, rows, labels[rows], [], [], SETTINGS, folder=tmp_path, seed=0, device="cpu"
    )
    assert all(torch.equal(before[k], v) for k, v in trained.encoder.state_dict().items())
    assert not torch.equal(
        before["blocks.block1.0.weight"], result.trained.encoder.blocks["block1"][0].weight
    )
    assert result.trained.encoder.cut == "block3"


def test_labels_must_match_clips_and_have_two_classes(tune, tones, make_trained, tmp_path):
    with pytest.raises(ValueError, match="3 clips but 2 labels"):
        fine_tune(
            make_trained(), tones[0], [0, 1, 2], ["a", "b"], [], [], SETTINGS,
            folder=tmp_path, seed=0,
        )  # fmt: skip
    with pytest.raises(ValueError, match="at least 2 classes"):
        tune(labels=np.full(60, "band0"))
    with pytest.raises(ValueError, match="n_classes=1"):
        tune(replace(SETTINGS, head="random"), labels=np.full(60, "band0"))


def test_wrong_settings_are_named():
    with pytest.raises(ValueError, match="head='probe' is unknown"):
        FineTuningSettings(training=TRAINING, head="probe")
    with pytest.raises(ValueError, match="validate_every=0"):
        FineTuningSettings(training=TRAINING, validate_every=0)
    with pytest.raises(ValueError, match="patience=0"):
        FineTuningSettings(training=TRAINING, patience=0)


def test_training_stops_when_patience_runs_out(tune, tmp_path, monkeypatch):
    scores = iter([0.5, 0.7, 0.7, 0.6, 0.9, 0.9])
    monkeypatch.setattr(fine_tuning._Run, "_score", lambda *_: next(scores))
    stopped = tune(replace(SETTINGS, patience=2), folder=tmp_path / "a")
    assert stopped.validation["score"].tolist() == [0.5, 0.7, 0.7, 0.6]
    assert stopped.epoch == 1
    assert stopped.history["epoch"].max() == 3
    monkeypatch.setattr(fine_tuning._Run, "_score", lambda *_: pytest.fail("went on"))
    assert same_weights(stopped, tune(replace(SETTINGS, patience=2), folder=tmp_path / "a"))


def test_patience_that_lasts_changes_nothing(tune, tmp_path):
    long = tune(replace(SETTINGS, patience=6), folder=tmp_path / "a")
    assert same_weights(long, tune(folder=tmp_path / "b"))


def test_mixup_and_masks_train_other_weights_and_can_be_resumed(tune, tmp_path, monkeypatch):
    views = {**fine_tuning.LIGHT_VIEWS, "freq_masks": 1, "time_masks": 1}
    settings = replace(SETTINGS, mixup_alpha=0.4, views=views)
    whole = tune(settings, folder=tmp_path / "whole")
    assert not same_weights(whole, tune(folder=tmp_path / "plain"))
    score, calls = fine_tuning._Run._score, []

    def failing(*args):
        calls.append(1)
        if len(calls) == 3:
            raise RuntimeError("power cut")
        return score(*args)

    monkeypatch.setattr(fine_tuning._Run, "_score", failing)
    with pytest.raises(RuntimeError, match="power cut"):
        tune(settings, folder=tmp_path / "cut")
    assert same_weights(whole, tune(settings, folder=tmp_path / "cut"))


def test_best_epoch_keeps_the_earlier_of_two_equals(tmp_path):
    layer, scores = torch.nn.Linear(1, 1), iter([0.5, 0.7, 0.7, 0.6])
    best = BestEpoch(layer, lambda: next(scores), folder=tmp_path, mark="m", every=1, n_epochs=4)
    for epoch in range(4):
        torch.nn.init.constant_(layer.weight, epoch)
        best(epoch)
    best.restore()
    assert (best.epoch, best.score, layer.weight.item()) == (1, 0.7, 1.0)
    again = BestEpoch(layer, lambda: 0.7, folder=tmp_path, mark="m", every=1, n_epochs=4)
    again(1)  # told an epoch twice after a crash
    assert again.table()["score"].tolist() == [0.5, 0.7, 0.7, 0.6]
    assert again.epoch == 1
