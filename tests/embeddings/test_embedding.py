from itertools import pairwise

import numpy as np
import pytest
import torch

from unfused.embeddings.embed import embed_clips, log_mel_statistics
from unfused.embeddings.pieces import random_crops, whole_clips, windows

CUTS = ["block1", "block3", "fc2"]


@pytest.mark.parametrize("protocol", ["whole_clip", "window_mean", "random_crop"])
def test_a_clip_does_not_depend_on_its_batch(store, make_trained, protocol):
    trained, rows = make_trained(), np.arange(len(store))
    together = embed_clips(trained, store, rows, cuts=CUTS, protocol=protocol)
    shuffled = np.random.default_rng(0).permutation(rows)
    small = embed_clips(trained, store, shuffled, cuts=CUTS, protocol=protocol, batch_frames=1)
    for cut in CUTS:
        alone = np.concatenate(
            [embed_clips(trained, store, [row], cuts=CUTS, protocol=protocol)[cut] for row in rows]
        )
        np.testing.assert_allclose(together[cut], alone, atol=1e-5)
        np.testing.assert_allclose(together[cut][shuffled], small[cut], atol=1e-5)


def test_whole_clip_is_one_forward_pass_pooled_over_the_real_frames(store, make_trained):
    trained = make_trained()
    row = int(np.flatnonzero(store.n_frames == 104)[0])
    clip = torch.from_numpy(store.clip(row))[None]
    with torch.no_grad():
        expected = trained.encoder.eval()(trained.normalise(clip))
    result = embed_clips(trained, store, [row])["fc2"]
    np.testing.assert_allclose(result, expected, atol=1e-5)


def test_short_clips_are_centred_as_the_store_pads_them(store, make_trained):
    trained = make_trained()
    row = int(np.flatnonzero(store.n_frames == 20)[0])
    log_mel, spans = store.padded([row])
    with torch.no_grad():
        expected = trained.encoder.eval()(trained.normalise(log_mel), spans)
    np.testing.assert_allclose(embed_clips(trained, store, [row])["fc2"], expected, atol=1e-5)


def test_long_clips_are_means_of_chunks_weighted_by_frames(store, make_trained):
    trained = make_trained()
    row = int(np.flatnonzero(store.n_frames == 2600)[0])
    clip, edges = torch.from_numpy(store.clip(row)), [0, 864, 1728, 2600]
    total = 0
    with torch.no_grad():
        for begin, end in pairwise(edges):
            part = trained.encoder.eval()(trained.normalise(clip[None, begin:end]))
            total = total + part * (end - begin) / 2600
    np.testing.assert_allclose(embed_clips(trained, store, [row])["fc2"], total, atol=1e-5)


def test_every_cut_equals_the_encoder_ending_there(store, make_trained):
    trained, rows = make_trained(), np.arange(len(store))
    at_once = embed_clips(trained, store, rows, cuts=CUTS)
    assert list(at_once) == CUTS
    for cut in CUTS:
        assert at_once[cut].dtype == np.float32
        alone = embed_clips(trained, store, rows, cuts=[cut])
        np.testing.assert_allclose(alone[cut], at_once[cut], atol=1e-6)


def test_nothing_about_the_encoder_changes(store, make_trained):
    trained = make_trained()
    trained.encoder.train()
    before = {key: value.clone() for key, value in trained.encoder.state_dict().items()}
    embed_clips(trained, store, np.arange(4))
    assert trained.encoder.training
    assert trained.encoder.cut == "fc2"
    for key, value in trained.encoder.state_dict().items():
        assert torch.equal(before[key], value)


def test_dropout_and_batch_statistics_are_off(store, make_trained):
    trained, rows = make_trained(), np.arange(len(store))
    trained.encoder.train()
    first, second = (embed_clips(trained, store, rows)["fc2"] for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_random_crops_are_seeded_by_clip(store, make_trained):
    trained, rows = make_trained(), np.arange(len(store))
    first = embed_clips(trained, store, rows, protocol="random_crop", seed=1)["fc2"]
    part = embed_clips(trained, store, rows[3:6], protocol="random_crop", seed=1)["fc2"]
    other = embed_clips(trained, store, rows, protocol="random_crop", seed=2)["fc2"]
    np.testing.assert_allclose(first[3:6], part, atol=1e-5)
    longer = store.n_frames > 200
    assert (np.abs(first - other).max(1) > 1e-4)[longer].all()


@pytest.mark.parametrize("n", [1, 8, 95, 96, 97, 1200, 1201, 1202, 5000, 361_000])
def test_pieces_cover_each_frame_once(n):
    pieces = whole_clips(np.array([n]), 1201)
    assert pieces.weight.sum() == pytest.approx(1.0)
    assert (pieces.length % 8 == 0).all()
    assert pieces.length.max() <= 1208
    if n >= 96:
        assert pieces.start[0] == 0
        np.testing.assert_array_equal(pieces.start[1:], (pieces.start + pieces.length)[:-1])
        assert 0 <= pieces.start[-1] + pieces.length[-1] - n < 8
    assert len(pieces.clip) == max(1, -(-n // 1201))


def test_windows_and_crops_stay_inside_clips_that_are_long_enough():
    n_frames = np.array([96, 97, 191, 192, 1000])
    pieces = windows(n_frames, 96)
    ends = pieces.start + 96
    assert (pieces.start >= 0).all()
    assert (ends <= n_frames[pieces.clip]).all()
    assert list(np.bincount(pieces.clip)) == [1, 2, 2, 2, 11]
    crops = random_crops([f"c{i}" for i in range(5)], n_frames, 96, seed=0)
    assert (crops.start >= 0).all()
    assert (crops.start + 96 <= n_frames).all()
    starts = random_crops([f"c{i}" for i in range(3000)], np.full(3000, 99), 96, seed=0).start
    np.testing.assert_allclose(np.bincount(starts) / 3000, 0.25, atol=0.03)


def test_log_mel_statistics_by_hand(store):
    statistics = log_mel_statistics(store, np.array([2]))
    clip = store.clip(2)
    np.testing.assert_allclose(statistics[0, :64], clip.mean(0), rtol=1e-5)
    np.testing.assert_allclose(statistics[0, 64:], clip.std(0), rtol=1e-5)


def test_no_clips_give_no_rows(store, make_trained):
    assert embed_clips(make_trained(), store, np.array([], int))["fc2"].shape == (0, 32)


def test_wrong_requests_are_named(store, make_trained):
    with pytest.raises(ValueError, match=r"cuts=\['fc3'\] are no taps.*block3"):
        embed_clips(make_trained(), store, [0], cuts=["fc3"])
    with pytest.raises(ValueError, match=r"protocol='mean' is unknown.*window_mean"):
        embed_clips(make_trained(), store, [0], protocol="mean")
    other = make_trained()
    other.front_end["n_mels"] = 40
    with pytest.raises(ValueError, match="n_mels: 40 here, 64 there"):
        embed_clips(other, store, [0])
