"""Read-outs: which frames count, which statistics come out, and that nothing else matters."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from unfused.core.errors import UserError
from unfused.data.log_mel import FrontEnd
from unfused.data.store import LogMelStore
from unfused.embeddings import read_out as module
from unfused.embeddings.read_out import ReadOut, embed_with_frames, read_out
from unfused.encoders import Conformer, TrainedEncoder

BLOCK = ReadOut(("block3",), ("mean", "max", "std"))


def vectors(trained, store, rows, *wanted, **options):
    return read_out(trained, store, np.asarray(rows), wanted, device="cpu", **options)


def frames_of(trained, store, row, tap="block3"):
    """Return the wholly real frames of a clip of at most 12 s, (T', D)."""
    n_frames = int(store.n_frames[row])
    length = -(-n_frames // 8) * 8
    clip = store.clip(row)
    clip = np.concatenate([clip] * (length // n_frames + 1))[:length]
    log_mel = trained.normalise(torch.from_numpy(clip)[None])
    with torch.inference_mode():
        frames = trained.encoder.eval().frame_features(log_mel)[tap][0].numpy()
    whole = n_frames // trained.encoder.strides[tap]
    return frames[: max(whole, 1)]


def test_statistics_are_those_of_the_whole_frames(store, make_trained):
    trained = make_trained()
    for row in range(len(store)):
        if not 8 <= store.n_frames[row] <= 1201:
            continue
        frames = frames_of(trained, store, row)
        every = replace(BLOCK, statistics=("mean", "max", "std", "delta"))
        (found,) = vectors(trained, store, [row], every)
        delta = np.diff(frames, axis=0) if len(frames) > 1 else np.zeros_like(frames)
        delta = np.sqrt(np.square(delta).mean(0))
        expected = np.concatenate([frames.mean(0), frames.max(0), frames.std(0), delta])
        np.testing.assert_allclose(found[0], expected, rtol=1e-4, atol=1e-4)


def test_a_clip_in_chunks_has_the_statistics_of_all_its_frames(store, make_trained, monkeypatch):
    trained, row = make_trained(), int(np.argmax(store.n_frames == 300))
    (whole,) = vectors(trained, store, [row], BLOCK)
    monkeypatch.setattr(module, "MAX_SECONDS", 1.0)
    (chunked,) = vectors(trained, store, [row], BLOCK)
    dim = trained.encoder.dims["block3"]
    # only frames whose convolutions reach over a border between chunks differ
    assert np.abs(whole - chunked)[:, :dim].mean() < 0.1 * np.abs(whole)[:, :dim].mean()


def test_chunks_are_put_together_exactly(monkeypatch):
    rng = np.random.default_rng(0)
    frames = torch.from_numpy(rng.normal(size=(1, 40, 3)) + 100)
    running = module._Running(1, 3, {1, 4}, delta=True)
    mask, centres = torch.ones(1, 40, dtype=torch.bool), torch.arange(40.0)[None]
    for begin, end in ((0, 7), (7, 30), (30, 40)):
        moments = module.Moments(frames[:, begin:end], mask[:, begin:end], centres[:, begin:end])
        running.add(np.array([0]), moments, centres[:, begin:end] / 40)
    clip = frames[0].numpy()
    np.testing.assert_allclose(running.statistic("mean", 1)[0], clip.mean(0), rtol=1e-6)
    np.testing.assert_allclose(running.statistic("std", 1)[0], clip.std(0), rtol=1e-4)
    np.testing.assert_allclose(running.statistic("max", 1)[0], clip.max(0), rtol=1e-6)
    steps = [np.diff(clip[begin:end], axis=0) for begin, end in ((0, 7), (7, 30), (30, 40))]
    delta = np.sqrt(np.square(np.concatenate(steps)).mean(0))
    np.testing.assert_allclose(running.statistic("delta", 1)[0], delta, rtol=1e-4)
    means = clip.reshape(4, 10, 3).mean(1).ravel()
    np.testing.assert_allclose(running.statistic("mean", 4)[0], means, rtol=1e-6)


@pytest.mark.parametrize("padding", ["none", "repeat", "silence"])
@pytest.mark.parametrize("normalised", [False, True])
def test_a_clip_is_embedded_the_same_in_any_company(store, make_trained, padding, normalised):
    trained = make_trained()
    wanted = ReadOut(
        ("block3", "fc2"), ("mean", "std"), 3, clip_normalisation=normalised, padding=padding
    )
    rows = np.arange(len(store))
    (company,) = vectors(trained, store, rows, wanted)
    for row in rows:
        (alone,) = vectors(trained, store, [row], wanted)
        np.testing.assert_allclose(alone[0], company[row], rtol=1e-4, atol=1e-5)


def test_read_outs_that_share_a_pass_equal_those_alone(store, make_trained):
    trained = make_trained()
    several = [BLOCK, ReadOut(("fc2",), ("max+mean",)), ReadOut((), ("mean", "std"), segments=3)]
    shared = vectors(trained, store, range(len(store)), *several)
    for item, found in zip(several, shared, strict=True):
        (alone,) = vectors(trained, store, range(len(store)), item)
        np.testing.assert_allclose(found, alone, rtol=1e-5, atol=1e-6)
        assert found.shape[1] == item.of(trained).dim(trained.encoder)


def test_max_plus_mean_is_the_sum(store, make_trained):
    trained = make_trained()
    items = [ReadOut(("fc2",), (name,)) for name in ("max", "mean", "max+mean")]
    highest, mean, total = vectors(trained, store, range(len(store)), *items)
    np.testing.assert_allclose(total, highest + mean, rtol=1e-5)


def test_clip_normalisation_removes_the_level_of_each_band(make_trained, tmp_path):
    rng = np.random.default_rng(0)
    clip = rng.normal(size=(120, 64)).astype("f4")
    louder = clip + 5 * rng.normal(size=64).astype("f4")
    store = LogMelStore.write(tmp_path, FrontEnd(), {"a": clip, "b": louder})
    trained = make_trained()
    plain, normalised = vectors(
        trained, store, [0, 1], BLOCK, ReadOut(("block3",), clip_normalisation=True)
    )
    assert np.abs(plain[0] - plain[1]).max() > 0.1
    np.testing.assert_allclose(normalised[0], normalised[1], atol=0.03)  # stored in float16


def test_what_the_encoder_was_trained_with_is_the_default(make_trained, store):
    trained = make_trained()
    assert ReadOut().of(trained).clip_normalisation is False
    assert ReadOut().of(trained).taps == ("block3",)
    assert ReadOut().of(make_trained(cut="block2")).taps == ("block2",)


def test_an_encoder_trained_on_normalised_clips_is_read_out_so(store, make_trained):
    trained = make_trained()
    asked = ReadOut(("block3",), clip_normalisation=True)
    (expected,) = vectors(trained, store, range(len(store)), asked)
    trained.clip_normalisation = True
    (found,) = vectors(trained, store, range(len(store)), ReadOut(("block3",)))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("normalised", [False, True])
def test_a_clip_heard_both_ways_is_both_vectors_side_by_side(store, make_trained, normalised):
    trained = make_trained()
    trained.clip_normalisation = normalised  # what it was trained with does not matter
    how = [False, True, "both"]
    items = [ReadOut(("block3",), ("mean", "std"), 3, clip_normalisation=each) for each in how]
    plain, without, both = vectors(trained, store, range(len(store)), *items)
    np.testing.assert_array_equal(both, np.concatenate([plain, without], axis=1))
    assert both.shape[1] == items[2].dim(trained.encoder) == 2 * items[0].dim(trained.encoder)
    (alone,) = vectors(trained, store, range(len(store)), items[2])
    np.testing.assert_allclose(alone, both, rtol=1e-5, atol=1e-6)
    (first, *_), (expected, *_) = (embed_with_frames(trained, store, items[i]) for i in (2, 0))
    np.testing.assert_array_equal(first.frames, expected.frames)
    with pytest.raises(UserError, match="clip_normalisation='twice'"):
        ReadOut(clip_normalisation="twice")


def test_segments_follow_time(make_trained, tmp_path):
    quiet, loud = np.full((96, 64), -10.0, "f4"), np.full((96, 64), 0.0, "f4")
    clips = {"up": np.concatenate([quiet, loud]), "down": np.concatenate([loud, quiet])}
    store = LogMelStore.write(tmp_path, FrontEnd(), clips)
    trained = make_trained()
    halves, whole = vectors(
        trained, store, [0, 1], ReadOut(("block3",), ("mean",), 2), ReadOut(("block3",), ("mean",))
    )
    dim = trained.encoder.dims["block3"]
    assert np.abs(halves[0, :dim] - halves[1, dim:]).max() < np.abs(halves[0] - halves[1]).max() / 5
    assert np.abs(whole[0] - whole[1]).max() < np.abs(halves[0] - halves[1]).max() / 5


def test_a_random_crop_belongs_to_its_clip_and_seed(store, make_trained):
    trained = make_trained()
    crop = ReadOut(("fc2",), ("max+mean",), padding="silence", crop_frames=96)
    other = ReadOut(("fc2",), ("max+mean",), padding="silence", crop_frames=96, seed=1)
    rows = np.arange(len(store))
    first, second = vectors(trained, store, rows, crop, other)
    (again,) = vectors(trained, store, rows[::-1].copy(), crop)
    np.testing.assert_allclose(again[::-1], first, rtol=1e-4, atol=1e-5)
    longer = store.n_frames > 200
    assert (np.abs(first - second).max(1) > 1e-3)[longer].all()


def test_a_conformer_is_read_out(store):
    torch.manual_seed(0)
    encoder = Conformer(n_mels=64, latent_dim=16, embed_dim=16, n_layers=2, n_heads=2, ffn_dim=32)
    trained = TrainedEncoder(encoder.eval(), "toy", FrontEnd(), mean=-6.0, std=2.5)
    wanted = ReadOut(("features", "layer2"), ("mean", "max", "std"), segments=3)
    rows = np.arange(len(store))
    (company,) = vectors(trained, store, rows, wanted)
    assert company.shape == (len(store), 16 * 5 * 2)
    for row in rows[:5]:
        (alone,) = vectors(trained, store, [row], wanted)
        np.testing.assert_allclose(alone[0], company[row], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "bad",
    [
        {"statistics": ("median",)},
        {"statistics": ()},
        {"padding": "zeros"},
        {"segments": 0},
        {"segments": 2, "statistics": ("max",)},
        {"crop_frames": 2},
    ],
)
def test_what_has_no_meaning_is_refused(bad):
    with pytest.raises(UserError):
        ReadOut(("block3",), **bad)


def test_an_unknown_tap_is_refused(make_trained):
    with pytest.raises(UserError, match="block9"):
        ReadOut(("block9",)).of(make_trained())


def test_nothing_about_the_encoder_changes(store, make_trained):
    trained = make_trained()
    trained.encoder.train()
    before = {key: value.clone() for key, value in trained.encoder.state_dict().items()}
    (first,) = vectors(trained, store, [0, 5], BLOCK)
    (second,) = vectors(trained, store, [0, 5], BLOCK)
    np.testing.assert_array_equal(first, second)  # neither dropout nor batch statistics
    assert trained.encoder.training
    for key, value in trained.encoder.state_dict().items():
        assert torch.equal(before[key], value)


def test_no_clips_give_no_rows(store, make_trained):
    trained = make_trained()
    (found,) = vectors(trained, store, np.array([], int), BLOCK)
    assert found.shape == (0, BLOCK.dim(trained.encoder))


def test_another_front_end_is_refused(store, make_trained):
    trained = make_trained()
    trained.front_end["n_mels"] = 40
    with pytest.raises(UserError, match="n_mels: 40 here, 64 there"):
        vectors(trained, store, [0], BLOCK)


def test_no_attention_spans_more_than_twelve_seconds(store, monkeypatch):
    encoder = Conformer(n_mels=64, latent_dim=16, embed_dim=16, n_layers=1, n_heads=2, ffn_dim=32)
    trained = TrainedEncoder(encoder.eval(), "toy", FrontEnd(), mean=-6.0, std=2.5)
    seen, kind = [], type(encoder.layers[0])
    forward = kind.forward

    def remember(self, frames, padding):
        seen.append(frames.shape[0])
        return forward(self, frames, padding)

    monkeypatch.setattr(kind, "forward", remember)
    vectors(trained, store, range(len(store)), ReadOut())
    assert max(seen) <= -(-1208 // 4)
