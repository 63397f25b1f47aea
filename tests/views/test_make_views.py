import math

import pytest
import torch

from unfused.core.seeding import torch_generator
from unfused.views import View, ViewMaker


def batch_of(n=6):
    log_mel = torch.randn(n, 1, 16, 24, generator=torch_generator(0, "crops")) * 2 - 5
    return View(log_mel, torch.tensor([[0.0, 24.0]] * n))


def maker(**arguments):
    return ViewMaker(**{"mean": -5.0, "std": 2.0, "n_mels": 16, "crop_frames": 24, **arguments})


PLAIN = {"freq_scale": (1, 1), "time_scale": (1, 1), "mixup_ratio": 0}


def test_identity_parameters_only_normalise():
    batch = batch_of()
    views = maker(**PLAIN)
    (view,) = views(batch, 1, torch_generator(0, "x"))
    torch.testing.assert_close(view.log_mel, (batch.log_mel + 5) / 2)
    assert torch.equal(view.spans, batch.spans)
    assert views.state_dict() == {}


def test_views_have_the_batchs_shape_and_differ():
    views = maker()(batch_of(), 2, torch_generator(0, "x"))
    assert len(views) == 2
    assert all(view.log_mel.shape == (6, 1, 16, 24) for view in views)
    assert not torch.equal(views[0].log_mel, views[1].log_mel)


def test_the_bank_gets_the_normalised_unmixed_crops_once_per_call():
    views, batch = maker(mixup_bank=32), batch_of()
    for calls in (1, 2):
        views(batch, 2, torch_generator(calls, "x"))
        assert views.mixup.filled.item() == 6 * calls
    torch.testing.assert_close(views.mixup.bank[6:12], views.plain(batch).log_mel.squeeze(1))


def test_mixup_sets_in_with_the_second_batch():
    views, batch = maker(**{**PLAIN, "mixup_ratio": 0.4}), batch_of()
    (first,) = views(batch, 1, torch_generator(0, "x"))
    (second,) = views(batch, 1, torch_generator(0, "x"))
    assert torch.equal(first.log_mel, views.plain(batch).log_mel)
    assert not torch.equal(second.log_mel, first.log_mel)


def test_a_restored_maker_goes_on_with_the_same_views():
    views, batch = maker(), batch_of()
    views(batch, 2, torch_generator(0, "x"))
    other = maker()
    other.load_state_dict(views.state_dict())
    for mine, theirs in zip(
        views(batch, 2, torch_generator(1, "x")),
        other(batch, 2, torch_generator(1, "x")),
        strict=True,
    ):
        assert torch.equal(mine.log_mel, theirs.log_mel)


def test_ranges_may_come_as_lists():
    views = maker(freq_scale=[1, 1], time_scale=[1.0, 1.0], mixup_ratio=0)
    (view,) = views(batch_of(), 1, torch_generator(0, "x"))
    assert torch.equal(view.log_mel, views.plain(batch_of()).log_mel)


@pytest.mark.parametrize(("mean", "std"), [(math.nan, 1.0), (0.0, 0.0), (0.0, math.inf)])
def test_statistics_that_are_none_are_refused(mean, std):
    with pytest.raises(ValueError, match="statistics of a training set"):
        maker(mean=mean, std=std)


def test_the_log_shows_the_parameters():
    text = repr(maker())
    assert "freq_scale=(0.6, 1.5)" in text
    assert "ratio=0.4" in text
    assert "mean=-5" in text


def test_views_are_made_from_the_crops_in_turn():
    """Three crops of two clips, crop after crop; of five views the first is of the first crop."""
    batch = batch_of(6)
    spans = torch.stack([torch.arange(6.0), torch.full((6,), 24.0)], dim=1)
    batch = View(batch.log_mel, spans)
    views = maker(**PLAIN)(batch, 5, torch_generator(0, "x"), n_crops=3)
    assert len(views) == 5
    for number, view in enumerate(views):
        crop = slice(2 * (number % 3), 2 * (number % 3) + 2)
        torch.testing.assert_close(view.log_mel, (batch.log_mel[crop] + 5) / 2)
        assert torch.equal(view.spans, spans[crop])


def test_views_of_one_crop_are_augmented_independently():
    batch = batch_of(4)
    views = maker(mixup_ratio=0)(batch, 4, torch_generator(0, "x"), n_crops=2)
    assert not torch.allclose(views[0].log_mel, views[2].log_mel)  # both of the first crop
    alone = maker(mixup_ratio=0)(View(*(part[:2] for part in batch)), 1, torch_generator(0, "x"))
    assert torch.equal(alone[0].log_mel, views[0].log_mel)


def test_the_bank_gets_every_crop_once_in_order():
    views, batch = maker(mixup_bank=32), batch_of()
    for calls in (1, 2):
        views(batch, 4, torch_generator(calls, "x"), n_crops=3)
        assert views.mixup.filled.item() == 6 * calls
    torch.testing.assert_close(views.mixup.bank[6:12], views.plain(batch).log_mel.squeeze(1))


def test_the_linear_fade_comes_last_and_is_off_by_default():
    batch = batch_of()
    plain, faded = maker(**PLAIN), maker(**PLAIN, linear_gain=1.0)
    (view,) = plain(batch, 1, torch_generator(0, "x"))
    (other,) = faded(batch, 1, torch_generator(0, "x"))
    slope = (other.log_mel - view.log_mel)[:, 0, 0]
    torch.testing.assert_close(slope.diff(n=2), torch.zeros(6, 22), atol=1e-5, rtol=0)
    assert slope.abs().amax() > 0.5
    assert "linear_gain=1.0" in repr(faded)
    assert "linear_gain=0.0" in repr(plain)
    with pytest.raises(ValueError, match=r"linear_gain=-1.0 must be at least 0"):
        maker(linear_gain=-1.0)


def test_clip_normalisation_leaves_no_colour():
    """Whatever is added to all frames of a band, by a room or a microphone, is gone."""
    log_mel = torch.randn(6, 1, 16, 24, generator=torch_generator(0, "crops"))
    spans = torch.tensor([[0.0, 24.0]] * 3 + [[3.0, 20.0]] * 3)
    colour = torch.randn(6, 1, 16, 1, generator=torch_generator(1, "colour")) * 3
    views = maker(**PLAIN, clip_normalisation=True)
    made = [
        views(View(x, spans), 1, torch_generator(0, "x"))[0] for x in (log_mel, log_mel + colour)
    ]
    torch.testing.assert_close(made[0].log_mel, made[1].log_mel)
    torch.testing.assert_close(views.plain(View(log_mel, spans)).log_mel, made[0].log_mel)
    for crop, (first, end) in zip(made[0].log_mel, spans.int().tolist(), strict=True):
        torch.testing.assert_close(
            crop[..., first:end].mean(-1), torch.zeros(1, 16), atol=1e-6, rtol=0
        )


def test_clip_normalisation_is_of_what_the_network_gets_and_not_of_the_bank():
    views = maker(clip_normalisation=True, linear_gain=1.0, mixup_bank=8)
    for seed in range(2):
        made = views(batch_of(), 2, torch_generator(seed, "x"))
    for view in made:
        means = torch.stack([crop[0, :, int(a) : math.ceil(b)].mean(1) for crop, (a, b) in
                             zip(view.log_mel, view.spans.tolist(), strict=True)])  # fmt: skip
        torch.testing.assert_close(means, torch.zeros(6, 16), atol=1e-5, rtol=0)
    bank = views.mixup.bank[views.mixup.filled - 6 :]
    assert bank.mean(-1).abs().max() > 0.1
    assert "clip_normalisation=True" in repr(views)
    assert repr(views) != repr(maker(linear_gain=1.0, mixup_bank=8))
