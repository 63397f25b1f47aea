import json
import logging

import pytest
import torch

from unfused.training.checkpoint import CheckpointError
from unfused.training.loop import TrainingDiverged, fit

from .toy_training import N_CLIPS, Toy, settings_for, source_for, train, views_for


class Spoilt(Toy):
    """A toy whose loss is infinite from one step on."""

    def __init__(self, from_step):
        super().__init__()
        self.from_step, self.step = from_step, 0

    def forward(self, views, clip_ids):
        loss, metrics = super().forward(views, clip_ids)
        self.step += 1
        return loss * (float("inf") if self.step > self.from_step else 1.0), metrics


class Reporting(Toy):
    """A toy that reports how far its embedding spreads."""

    def __init__(self, std, effective_rank):
        super().__init__()
        self.health = {
            "std": torch.tensor(std),
            "effective_rank": torch.tensor(effective_rank),
        }

    def forward(self, views, clip_ids):
        loss, metrics = super().forward(views, clip_ids)
        return loss, {**metrics, **self.health}


def test_a_toy_learns(tmp_path):
    _, history = train(tmp_path, settings=settings_for(epochs=20, checkpoint_seconds=1e6))
    assert history["loss"].iloc[-3:].mean() < history["loss"].iloc[:3].mean()


def test_history_and_file_tell_the_same(tmp_path):
    _, history = train(tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == history["step"].tolist() == [2, 4, 6, 8, 9]
    assert history["clips"].tolist() == [12, 24, 36, 48, 54]
    assert history["epoch"].tolist() == [0, 1, 1, 2, 2]
    assert {"loss", "learning_rate", "clips_per_second", "spread", "largest"} <= set(rows[0])
    assert (history["clips_per_second"] > 0).all()


def test_curves_can_be_watched_while_it_trains(tmp_path):
    pages = []

    def look(_epoch):
        pages.append((tmp_path / "live.html").read_text())

    train(tmp_path, epoch_end=look, title="a < b")
    pages.append((tmp_path / "live.html").read_text())
    assert ['http-equiv="refresh"' in page for page in pages] == [True, True, True, False]
    assert "step 9 of 9" in pages[-1]
    assert "a &lt; b" in pages[-1]
    assert pages[-1].count("<polyline") == len({"loss", "learning_rate", "clips_per_second",
                                                "spread", "largest"})  # fmt: skip


def test_rows_are_means_over_their_steps(tmp_path):
    _, every = train(tmp_path / "every", settings=settings_for(log_every=1))
    _, third = train(tmp_path / "third", settings=settings_for(log_every=3))
    expected = every["loss"].to_numpy().reshape(3, 3).mean(1)
    assert third["loss"].to_numpy() == pytest.approx(expected, rel=1e-5)


def test_the_method_is_trained_and_embedded_in_the_right_modes(tmp_path):
    seen = []

    class Watched(Toy):
        def logits(self, view):
            seen.append((self.training, torch.is_grad_enabled(), len(view.log_mel)))
            return super().logits(view)

    method, _ = train(tmp_path, Watched(), settings_for(epochs=1))
    assert seen[0] == (False, False, N_CLIPS)
    assert set(seen[1:]) == {(True, True, 6)}
    assert not method.training


def test_clip_updates_decide_the_length(tmp_path):
    _, history = train(tmp_path, settings=settings_for(epochs=None, clip_updates=24))
    assert history["step"].iloc[-1] == 4


def test_a_batch_larger_than_the_corpus_is_the_corpus(tmp_path):
    _, history = train(tmp_path, settings=settings_for(batch_size=64))
    assert history["clips"].tolist() == [2 * N_CLIPS, 3 * N_CLIPS]


def test_epoch_ends_are_reported(tmp_path):
    epochs = []
    train(tmp_path, settings=settings_for(epochs=2.4), epoch_end=epochs.append)
    assert epochs == [0, 1, 2]


def test_an_epoch_end_may_stop_the_training_for_good(tmp_path):
    settings = settings_for(epochs=5, log_every=1000)
    first, history = train(tmp_path, settings=settings, epoch_end=lambda epoch: epoch == 1)
    last = 2 * (N_CLIPS // 6)
    assert history["step"].tolist() == [last]
    _, whole = train(tmp_path / "whole", settings=settings_for(epochs=5, log_every=1))
    planned = whole.set_index("step").loc[last, "learning_rate"]  # nobody knew that it would end
    assert history["learning_rate"].tolist() == [planned] != [whole["learning_rate"].iloc[-1]]
    assert history["loss"].notna().all()
    again, same = train(tmp_path, settings=settings, epoch_end=lambda _: pytest.fail("went on"))
    assert same.equals(history)
    assert all(
        torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True)
    )


def test_bfloat16_and_clipping_run_on_the_cpu(tmp_path):
    settings = settings_for(precision="bf16", gradient_clip=0.1, epochs=1)
    method, history = train(tmp_path, settings=settings)
    assert history["loss"].notna().all()
    assert {parameter.dtype for parameter in method.parameters()} == {torch.float32}


def test_channels_last_does_not_change_the_result(tmp_path):
    # sgd: adam divides by tiny gradients and so blows up the rounding of another order of sums
    kept = {"optimiser": "sgd", "learning_rate": 1e-3, "precision": "fp32"}
    first, _ = train(tmp_path / "a", settings=settings_for(channels_last=True, **kept))
    second, _ = train(tmp_path / "b", settings=settings_for(channels_last=False, **kept))
    weight = first.encoder[0].weight
    assert weight.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(first.head.weight, second.head.weight, atol=1e-3, rtol=1e-3)


def test_a_diverged_run_says_where_and_keeps_the_last_good_checkpoint(tmp_path):
    with pytest.raises(TrainingDiverged, match=r"step 6 of 9.*learning rate.*lower learning_rate"):
        train(tmp_path, Spoilt(4), settings_for(checkpoint_seconds=1e6))
    assert not (tmp_path / "checkpoint.pt").exists()
    with pytest.raises(TrainingDiverged, match="step 5 of 9"):
        train(tmp_path, Spoilt(4))
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["step"] == 4


def test_another_run_in_the_same_folder_is_refused(tmp_path):
    train(tmp_path)
    for settings, seed in ((settings_for(learning_rate=0.01), 0), (settings_for(), 1)):
        with pytest.raises(CheckpointError, match="another folder"):
            train(tmp_path, settings=settings, seed=seed)


def test_source_and_settings_must_fit_together(tmp_path):
    def start(method, settings):
        fit(method, source_for(), views_for(), settings, folder=tmp_path, seed=0, device="cpu")

    with pytest.raises(ValueError, match=r"batch_size=6 and the settings batch_size=8"):
        start(Toy(), settings_for(batch_size=8))
    longer = Toy()
    longer.crop_frames = 50
    with pytest.raises(ValueError, match="crop_frames=50"):
        start(longer, settings_for())


def test_start_and_end_are_logged(tmp_path, caplog):
    with caplog.at_level(logging.INFO, logger="unfused.training.loop"):
        train(tmp_path)
    start, end = caplog.messages
    assert "training Toy: 9 steps of 6 clips (3.0 epochs of 20 clips) on cpu in float32" in start
    assert "trained Toy: 54 clip-updates" in end
    assert "clips/s" in end


@pytest.mark.parametrize(
    ("std", "rank", "collapsed"), [(0.5, 40.0, False), (0.001, 40.0, True), (0.5, 1.1, True)]
)
def test_collapse_is_warned_of(tmp_path, caplog, std, rank, collapsed):
    with caplog.at_level(logging.WARNING):
        _, history = train(tmp_path, Reporting(std, rank), settings_for(batch_size=16))
    assert history.attrs["collapsed"] is collapsed
    assert ("has collapsed" in caplog.text) is collapsed


def test_few_clips_are_not_judged_for_collapse(tmp_path):
    _, history = train(tmp_path, Reporting(0.0, 1.0))
    assert history.attrs["collapsed"] is False
