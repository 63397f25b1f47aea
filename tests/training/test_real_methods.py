"""The loop with the package's own store, encoder and methods."""

import numpy as np
import pytest
import torch

from unfused import encoders, methods
from unfused.data.log_mel import FrontEnd
from unfused.data.store import LogMelStore
from unfused.distillation.self_distillation import SelfDistillation
from unfused.methods.supervised import Supervised
from unfused.training.batches import CropSource
from unfused.training.loop import fit
from unfused.training.settings import TrainingSettings
from unfused.views import ViewMaker

N_CLIPS = 24
SMALL = {
    "decar": {"projector_hidden": 16, "projector_dim": 8},
    "byol_a": {"projector_hidden": 16, "projector_dim": 8},
    "selfie": {"projector_hidden": 16, "projector_dim": 8},
    "cola": {"projector_dim": 8},
    "slicer": {"projector_hidden": 16, "projector_dim": 8, "cluster_hidden": 16, "n_clusters": 6},
    "conformer": {"crop_frames": 96},
    "delores_s": {"projector_hidden": 16, "projector_dim": 24},
    "delores_m": {"projector_dim": 8, "barlow_hidden": 16, "barlow_dim": 24},
}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    rng = np.random.default_rng(0)
    clips = {
        f"{i:02d}": rng.normal(-6, 3, (40 + 9 * i, 16)).astype(np.float32) for i in range(N_CLIPS)
    }
    return LogMelStore.write(tmp_path_factory.mktemp("store"), FrontEnd(n_mels=16), clips)


def method_of(name):
    torch.manual_seed(0)
    encoder = encoders.create("audio_ntt", d=16, n_mels=16, channels=8)
    if name == "conformer":
        small = {"latent_dim": 16, "embed_dim": 16, "n_layers": 2, "n_heads": 2, "ffn_dim": 32}
        encoder = encoders.create("conformer", n_mels=16, **small)
    labels = {"labels": np.arange(N_CLIPS) % 3, "n_classes": 3}
    if name in SMALL:
        return methods.create(name, encoder, n_clips=N_CLIPS, **SMALL[name])
    return (
        SelfDistillation(encoder, **labels)
        if name == "distillation"
        else Supervised(encoder, dropout=0.5, **labels)
    )


def train(method, store, folder, precision):
    settings = TrainingSettings(
        epochs=3, batch_size=8, precision=precision, log_every=2, checkpoint_seconds=0
    )
    mean, std = store.statistics(np.arange(N_CLIPS))
    views = ViewMaker(mean=mean, std=std, n_mels=16, crop_frames=method.crop_frames)
    with CropSource(
        store,
        np.arange(N_CLIPS),
        crop_frames=method.crop_frames,
        n_crops=method.n_crops,
        batch_size=8,
        seed=0,
    ) as source:
        return fit(method, source, views, settings, folder=folder, seed=0, device="cpu")


def stopping(method, stop_at):
    """Return the method, made to fail after step ``stop_at``."""
    original = method.after_step

    def after_step(step):
        original(step)
        if step == stop_at:
            raise RuntimeError("power cut")

    method.after_step = after_step
    return method


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", [*SMALL, "distillation", "supervised"])
def test_resume_is_exact(tmp_path, store, name, precision):
    whole = method_of(name)
    history = train(whole, store, tmp_path / "whole", precision)
    with pytest.raises(RuntimeError, match="power cut"):
        train(stopping(method_of(name), 4), store, tmp_path / "stopped", precision)
    resumed = method_of(name)
    resumed_history = train(resumed, store, tmp_path / "stopped", precision)
    state = resumed.state_dict()
    for key, value in whole.state_dict().items():
        assert torch.equal(value, state[key]), key
    speed = "clips_per_second"
    assert resumed_history.drop(columns=speed).equals(history.drop(columns=speed))
    assert history["loss"].notna().all()


def test_frames_on_the_device_equal_the_store(store):
    arguments = {"crop_frames": 96, "batch_size": 8, "seed": 0}
    rows = np.arange(N_CLIPS)[::-1]
    with (
        CropSource(store, rows, **arguments) as source,
        CropSource(store, rows, on_device=True, **arguments) as resident,
    ):
        for step in range(6):
            (ids, view), (other_ids, other) = source.batch(step), resident.batch(step)
            assert torch.equal(ids, other_ids)
            assert torch.equal(view.log_mel, other.log_mel)
            assert torch.equal(view.spans, other.spans)
