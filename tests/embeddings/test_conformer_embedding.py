"""Whole clips of mixed length through a Conformer, whose attention grows with the clip's square."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from unfused.data.log_mel import FrontEnd
from unfused.embeddings.embed import embed_clips
from unfused.encoders import Conformer, TrainedEncoder

CUTS = ["features", "layer1", "layer2"]


@pytest.fixture
def trained():
    torch.manual_seed(0)
    encoder = Conformer(latent_dim=32, embed_dim=64, n_layers=2, n_heads=4, ffn_dim=96)
    return TrainedEncoder(encoder, "conformer", FrontEnd(), mean=-6.0, std=2.5)


@pytest.mark.parametrize("protocol", ["whole_clip", "window_mean", "random_crop"])
def test_a_clip_does_not_depend_on_its_batch(store, trained, protocol):
    rows = np.arange(len(store))
    together = embed_clips(trained, store, rows, cuts=CUTS, protocol=protocol)
    order = np.random.default_rng(0).permutation(rows)
    alone = embed_clips(trained, store, order, cuts=CUTS, protocol=protocol, batch_frames=1)
    for cut in CUTS:
        assert np.isfinite(together[cut]).all()
        np.testing.assert_allclose(together[cut][order], alone[cut], atol=1e-5)


def test_padding_to_a_multiple_of_eight_frames_changes_nothing(store, trained):
    """Every clip up to 12 s gets what the encoder gives the clip alone, without any padding."""
    short = np.flatnonzero(store.n_frames <= 1201)
    assert store.n_frames[short].min() == 3
    embeddings = embed_clips(trained, store, short)["layer2"]
    encoder = trained.encoder.eval()
    for row, embedding in zip(short, embeddings, strict=True):
        clip = torch.from_numpy(store.clip(int(row)))[None]
        if clip.shape[1] < 4:  # less than a latent: the rest of it is zeros
            continue
        with torch.no_grad():
            expected = encoder(trained.normalise(clip))[0]
        np.testing.assert_allclose(embedding, expected, atol=1e-5)


def test_long_clips_are_means_of_chunks_weighted_by_frames(store, trained):
    row = int(np.flatnonzero(store.n_frames == 2600)[0])
    clip, total = torch.from_numpy(store.clip(row)), 0
    with torch.no_grad():
        for begin, end in pairwise([0, 864, 1728, 2600]):
            part = trained.encoder.eval()(trained.normalise(clip[None, begin:end]))
            total = total + part * (end - begin) / 2600
    np.testing.assert_allclose(embed_clips(trained, store, [row])["layer2"], total, atol=1e-5)


def test_no_attention_spans_more_than_twelve_seconds(store, trained, monkeypatch):
    seen = []
    layer = trained.encoder.layers[0]
    forward = type(layer).forward

    def remember(self, frames, padding):
        seen.append(frames.shape[0])
        return forward(self, frames, padding)

    monkeypatch.setattr(type(layer), "forward", remember)
    embed_clips(trained, store, np.arange(len(store)))
    assert max(seen) <= -(-1208 // 4)


def test_every_cut_equals_the_encoder_ending_there(store, trained):
    rows = np.arange(len(store))
    at_once = embed_clips(trained, store, rows, cuts=CUTS)
    for cut in CUTS:
        alone = embed_clips(trained, store, rows, cuts=[cut])[cut]
        np.testing.assert_allclose(alone, at_once[cut], atol=1e-6)
