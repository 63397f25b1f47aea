"""Pre-training with k-mix: exact resume, and centroids that decide the run."""

import numpy as np
import pandas as pd
import pytest
import torch

from unfused.data.log_mel import FrontEnd
from unfused.data.store import LogMelStore
from unfused.methods.byol_a import BYOLA
from unfused.tasks.corpus import Corpus
from unfused.training.checkpoint import CheckpointError
from unfused.training.estimator import crop_source, random_encoder, view_maker
from unfused.training.loop import TrainingSettings, fit
from unfused.views import fit_centroids

N_CLIPS = 60
VIEWS = {"mixing": "k_mix", "mixup_bank": 20, "k_mix_furthest": 5}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    rng = np.random.default_rng(0)
    clips = {
        f"{i:02d}": rng.normal(-9 + i % 7, 2, (40 + 3 * i, 16)).astype(np.float32)
        for i in range(N_CLIPS)
    }
    store = LogMelStore.write(tmp_path_factory.mktemp("store"), FrontEnd(n_mels=16), clips)
    centroids, _ = fit_centroids(store, np.arange(N_CLIPS))
    table = pd.DataFrame({"clip_id": list(clips), "corpus": "toy"})
    return Corpus.of(store, table), centroids.numpy()


def train(data, folder, stop_at=None, **changed):
    corpus, centroids = data
    encoder = random_encoder("audio_ntt", {"d": 16, "n_mels": 16, "channels": 8}, 0)
    torch.manual_seed(0)
    method = BYOLA(encoder, projector_hidden=16, projector_dim=8)
    settings = TrainingSettings(
        clip_updates=96, batch_size=8, log_every=2, checkpoint_seconds=0, precision="fp32"
    )
    original = method.after_step

    def after_step(step):
        original(step)
        if step == stop_at:
            raise RuntimeError("power cut")

    method.after_step = after_step
    views = view_maker(corpus, {**VIEWS, **changed}, method.crop_frames, centroids)
    with crop_source(corpus, method, settings, 0, "cpu") as source:
        fit(method, source, views, settings, folder=folder, seed=0, device="cpu")
    return method, views


def test_resume_is_exact(tmp_path, data):
    whole, views = train(data, tmp_path / "whole")
    with pytest.raises(RuntimeError, match="power cut"):
        train(data, tmp_path / "stopped", stop_at=7)
    resumed, other = train(data, tmp_path / "stopped")
    for one, two in ((whole, resumed), (views, other)):
        state = two.state_dict()
        for key, value in one.state_dict().items():
            assert torch.equal(value, state[key]), key
    assert views.mixup.filled.item() == 20
    assert len(set(views.mixup.clusters.tolist())) > 1


def test_another_mixing_trains_something_else(tmp_path, data):
    k_mix, _ = train(data, tmp_path / "k_mix")
    mixup, _ = train(data, tmp_path / "mixup", mixing="mixup")
    assert not all(
        torch.equal(a, b) for a, b in zip(k_mix.parameters(), mixup.parameters(), strict=True)
    )


def test_a_checkpoint_with_other_centroids_is_refused(tmp_path, data):
    with pytest.raises(RuntimeError, match="power cut"):
        train(data, tmp_path, stop_at=3)
    with pytest.raises(CheckpointError, match="other data"):
        train((data[0], data[1] + 1), tmp_path)


def test_k_mix_needs_centroids(data):
    with pytest.raises(ValueError, match="needs k_mix_centroids"):
        view_maker(data[0], VIEWS, 48)
