"""The interfaces of HEAR and X-ARES, checked as their own validators describe them."""

import numpy as np
import pytest
import torch

from unfused.embeddings.embedder import as_embedder
from unfused.encoders import save_encoder
from unfused.inference import hear, xares


@pytest.fixture(params=[1.0, 4.0, 13.3])
def audio(request):
    generator = torch.Generator().manual_seed(0)
    n_samples = int(request.param * 16000)
    return torch.rand(2, n_samples, generator=generator) * 2 - 1


@pytest.fixture
def model(any_encoder, tmp_path):
    any_encoder.save(tmp_path)
    return hear.load_model(str(tmp_path))


def test_a_model_has_its_attributes(model):
    assert isinstance(model, torch.nn.Module)
    assert model.sample_rate in (16000, 22050, 32000, 44100, 48000)
    assert isinstance(model.scene_embedding_size, int)
    assert isinstance(model.timestamp_embedding_size, int)


def test_scenes(model, audio):
    scenes = hear.get_scene_embeddings(audio, model)
    assert scenes.dtype == torch.float32
    assert scenes.shape == (2, model.scene_embedding_size)
    expected = model.embedder.embed(list(audio), sample_rate=16000, device="cpu")
    np.testing.assert_allclose(scenes, [item.clip for item in expected], rtol=1e-4, atol=1e-5)


def test_timestamps(model, audio):
    embeddings, timestamps = hear.get_timestamp_embeddings(audio, model)
    assert embeddings.dtype == timestamps.dtype == torch.float32
    assert embeddings.dim() == 3
    assert embeddings.shape[2] == model.timestamp_embedding_size
    assert timestamps.shape == embeddings.shape[:2]
    steps = timestamps.diff(dim=1)
    assert (steps > 0).all()
    assert (steps - steps.mean()).abs().max() <= 1  # ms
    assert steps.mean() <= 50
    duration = 1000 * audio.shape[1] / model.sample_rate
    assert (timestamps[:, 0] <= 50).all()
    assert (timestamps[:, -1] >= duration - 50).all()
    assert (timestamps[:, 0] >= 0).all()
    assert (timestamps[:, -1] <= duration + 10).all()


def test_a_moment_sees_what_sounds_then(model):
    audio = torch.zeros(1, 4 * 16000)
    audio[:, 2 * 16000 :] = torch.rand(2 * 16000, generator=torch.Generator().manual_seed(0)) - 0.5
    embeddings, timestamps = hear.get_timestamp_embeddings(audio, model)
    if type(model.encoder).__name__ == "Conformer":  # each of its frames sees the whole clip
        return
    early = embeddings[0, (timestamps[0] > 100) & (timestamps[0] < 1800)]
    late = embeddings[0, timestamps[0] > 2200]
    assert (early - early.mean(0)).abs().max() < 1e-4
    assert (late - early.mean(0)).abs().amax(1).min() > 1e-2


def test_moments_are_those_of_embed_where_they_meet(encoder):
    """Pass 0 begins three frames before the clip; a clip moved by as much has the same frames."""
    audio = torch.rand(1, 32000, generator=torch.Generator().manual_seed(1)) - 0.5
    moments, timestamps = hear.get_timestamp_embeddings(audio, hear.HearModel(encoder))
    moved = torch.cat([torch.zeros(1, 480), audio], dim=1)
    frames = encoder.embed(moved, sample_rate=16000, device="cpu").frames
    inner = moments[0, ::2].numpy()[2:20]
    np.testing.assert_allclose(inner, frames[2:20], rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(timestamps[0, :3], [5, 45, 85], atol=1e-3)


def test_no_model_and_wrong_audio(model, tmp_path):
    with pytest.raises(ValueError, match="brings no weights"):
        hear.load_model()
    with pytest.raises(FileNotFoundError, match="no trained encoder"):
        hear.load_model(str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match=r"\(B, N\)"):
        hear.get_scene_embeddings(torch.zeros(16000), model)


def test_a_file_of_weights_names_its_folder(encoder, tmp_path):
    save_encoder(tmp_path, encoder.trained)
    assert hear.load_model(str(tmp_path / "encoder.safetensors")).sample_rate == 16000


def test_statistics_have_no_moments(tmp_path):
    as_embedder("mfcc_statistics").save(tmp_path)
    with pytest.raises(ValueError, match="no frames"):
        hear.load_model(str(tmp_path))


def test_the_contract_of_xares(any_encoder, tmp_path, monkeypatch):
    any_encoder.save(tmp_path)
    monkeypatch.setenv("UNFUSED_ENCODER", str(tmp_path))
    found = [name for name in vars(xares) if name.endswith("Encoder")]
    assert len(found) == 1
    encoder = getattr(xares, found[0])()
    assert isinstance(encoder, torch.nn.Module)
    assert isinstance(encoder.output_dim, int)
    assert encoder.sampling_rate == 16000
    frames = encoder(torch.randn(2, 50000, generator=torch.Generator().manual_seed(0)))
    assert isinstance(frames, torch.Tensor)
    assert frames.dtype == torch.float32
    assert frames.shape[::2] == (2, encoder.output_dim)
    assert torch.isfinite(frames).all()
    expected = 50000 / 16 / encoder.hop_size_in_ms
    assert abs(frames.shape[1] - expected) <= 1
    frames.requires_grad_()  # a probe is trained on them
    monkeypatch.delenv("UNFUSED_ENCODER")
    with pytest.raises(ValueError, match="UNFUSED_ENCODER"):
        xares.UnfusedEncoder()
