import math

import pytest
import torch

from unfused.core.seeding import torch_generator
from unfused.views.mixup import LogMixupExp, Mixing, log_mixup_exp
from unfused.views.settings import MethodViewSettings
from unfused.views.view import View


def whole(crops):
    """Return crops without padding, and that all are of one cluster."""
    spans = torch.tensor([0.0, crops.shape[3]]).expand(len(crops), 2)
    return View(crops, spans), torch.zeros(len(crops), dtype=torch.int64)


def bank_of(crops, *, size=8, ratio=0.4, **how):
    settings = MethodViewSettings(mixup_ratio=ratio, mixup_bank=size, **how)
    mixup = LogMixupExp(settings, n_mels=4, crop_frames=6)
    mixup.remember(*whole(crops))
    return mixup


def mixed(mixup, crops, seed=0):
    return mixup(*whole(crops), torch_generator(seed, "x")).log_mel


def test_a_case_worked_by_hand():
    crop, partner = torch.zeros(1, 1, 1, 1), torch.full((1, 1, 1, 1), math.log(3.0))
    mixed = log_mixup_exp(crop, partner, torch.tensor([0.25]))
    assert mixed.item() == pytest.approx(math.log(0.75 * 1 + 0.25 * 3))


def test_equals_the_formula_in_the_linear_domain():
    crop, partner = torch.randn(2, 3, 1, 4, 6, dtype=torch.float64)
    weight = torch.tensor([0.0, 0.2, 0.39], dtype=torch.float64)
    w = weight.view(-1, 1, 1, 1)
    expected = torch.log((1 - w) * crop.exp() + w * partner.exp())
    torch.testing.assert_close(log_mixup_exp(crop, partner, weight), expected)


def test_large_values_do_not_overflow():
    mixed = log_mixup_exp(
        torch.full((1, 1, 2, 2), 200.0), torch.full((1, 1, 2, 2), 300.0), torch.tensor([0.4])
    )
    assert torch.isfinite(mixed).all()


def test_weight_zero_returns_the_input():
    crop = torch.randn(5, 1, 4, 6)
    assert torch.equal(log_mixup_exp(crop, torch.randn(5, 1, 4, 6), torch.zeros(5)), crop)


def test_an_empty_bank_mixes_nothing():
    mixup = LogMixupExp(MethodViewSettings(mixup_bank=8), n_mels=4, crop_frames=6)
    crop = torch.randn(5, 1, 4, 6)
    assert torch.equal(mixed(mixup, crop), crop)


def test_the_bank_forgets_the_oldest_first():
    mixup = LogMixupExp(MethodViewSettings(mixup_bank=4), n_mels=1, crop_frames=1)
    number = torch.arange(20.0).view(-1, 1, 1, 1)
    mixup.remember(*whole(number[0:3]))
    assert (mixup.filled.item(), mixup.position.item()) == (3, 3)
    mixup.remember(*whole(number[3:6]))
    assert mixup.bank.flatten().tolist() == [4, 5, 2, 3]
    assert (mixup.filled.item(), mixup.position.item()) == (4, 2)
    mixup.remember(*whole(number[6:16]))  # more than the bank holds
    assert sorted(mixup.bank.flatten().tolist()) == [12, 13, 14, 15]
    mixup.remember(*whole(number[16:17]))
    assert sorted(mixup.bank.flatten().tolist()) == [13, 14, 15, 16]


def test_partners_come_from_the_filled_part_and_weights_from_the_range():
    mixup = bank_of(torch.randn(3, 1, 4, 6))
    mixing = mixup.draw(torch.zeros(4000).long(), torch_generator(0, "x"))
    assert set(mixing.partner.tolist()) == {0, 1, 2}
    assert torch.bincount(mixing.partner).float().std() < 80  # of 1333 each
    assert mixing.weight.min() >= 0
    assert mixing.weight.max() < 0.4
    assert mixing.weight.mean().item() == pytest.approx(0.2, abs=0.01)
    assert mixing.weight.std().item() == pytest.approx(0.4 / 12**0.5, abs=0.01)


def test_same_generator_same_result():
    mixup, crop = bank_of(torch.randn(8, 1, 4, 6)), torch.randn(5, 1, 4, 6)
    first, second = (mixed(mixup, crop, 7) for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, mixed(mixup, crop, 8))


def test_a_batch_equals_a_loop():
    mixup, crop = bank_of(torch.randn(8, 1, 4, 6)), torch.randn(5, 1, 4, 6)
    mixing = mixup.draw(torch.zeros(5).long(), torch_generator(0, "x"))
    single = [
        mixup.mix(whole(crop[i : i + 1])[0], Mixing(*(part[i : i + 1] for part in mixing)))
        for i in range(5)
    ]
    together = mixup.mix(whole(crop)[0], mixing)
    for number, part in enumerate(together):
        torch.testing.assert_close(part, torch.cat([view[number] for view in single]))


def test_the_state_is_whole():
    mixup = bank_of(torch.randn(5, 1, 4, 6))
    other = LogMixupExp(MethodViewSettings(mixup_bank=8), n_mels=4, crop_frames=6)
    other.load_state_dict(mixup.state_dict())
    crop = torch.randn(5, 1, 4, 6)
    assert torch.equal(mixed(mixup, crop), mixed(other, crop))


@pytest.mark.parametrize("batch", [1, 2, 3, 5, 12])
def test_the_bank_holds_the_newest_crops_in_their_order(batch):
    crops = torch.arange(12.0).view(-1, 1, 1, 1).expand(-1, 1, 4, 6)
    mixup = LogMixupExp(MethodViewSettings(mixup_bank=4), n_mels=4, crop_frames=6)
    for first in range(0, 12, batch):
        mixup.remember(*whole(crops[first : first + batch]))
        expected = list(range(min(first + batch, 12)))[-4:]
        assert mixup.filled.item() == len(expected)
        age = (torch.arange(4) - mixup.position) % 4
        assert mixup.bank[age.argsort(), 0, 0].tolist()[4 - len(expected) :] == expected
