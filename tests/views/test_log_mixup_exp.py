import math

import pytest
import torch

from unfused.core.seeding import torch_generator
from unfused.views.log_mixup_exp import LogMixupExp, Mixing, log_mixup_exp


def bank_of(crops, *, size=8, ratio=0.4):
    mixup = LogMixupExp(ratio=ratio, bank_size=size, n_mels=4, crop_frames=6)
    mixup.remember(crops)
    return mixup


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
    mixup = LogMixupExp(ratio=0.4, bank_size=8, n_mels=4, crop_frames=6)
    crop = torch.randn(5, 1, 4, 6)
    assert torch.equal(mixup(crop, torch_generator(0, "x")), crop)


def test_the_bank_forgets_the_oldest_first():
    mixup = LogMixupExp(ratio=0.4, bank_size=4, n_mels=1, crop_frames=1)
    number = torch.arange(20.0).view(-1, 1, 1, 1)
    mixup.remember(number[0:3])
    assert (mixup.filled.item(), mixup.position.item()) == (3, 3)
    mixup.remember(number[3:6])
    assert mixup.bank.flatten().tolist() == [4, 5, 2, 3]
    assert (mixup.filled.item(), mixup.position.item()) == (4, 2)
    mixup.remember(number[6:16])  # more than the bank holds
    assert sorted(mixup.bank.flatten().tolist()) == [12, 13, 14, 15]
    mixup.remember(number[16:17])
    assert sorted(mixup.bank.flatten().tolist()) == [13, 14, 15, 16]


def test_partners_come_from_the_filled_part_and_weights_from_the_range():
    mixup = bank_of(torch.randn(3, 1, 4, 6))
    mixing = mixup.draw(4000, torch_generator(0, "x"))
    assert set(mixing.partner.tolist()) == {0, 1, 2}
    assert torch.bincount(mixing.partner).float().std() < 80  # of 1333 each
    assert mixing.weight.min() >= 0
    assert mixing.weight.max() < 0.4
    assert mixing.weight.mean().item() == pytest.approx(0.2, abs=0.01)
    assert mixing.weight.std().item() == pytest.approx(0.4 / 12**0.5, abs=0.01)


def test_same_generator_same_result():
    mixup, crop = bank_of(torch.randn(8, 1, 4, 6)), torch.randn(5, 1, 4, 6)
    first, second = (mixup(crop, torch_generator(7, "x")) for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, mixup(crop, torch_generator(8, "x")))


def test_a_batch_equals_a_loop():
    mixup, crop = bank_of(torch.randn(8, 1, 4, 6)), torch.randn(5, 1, 4, 6)
    mixing = mixup.draw(5, torch_generator(0, "x"))
    single = [
        mixup.mix(crop[i : i + 1], Mixing(*(part[i : i + 1] for part in mixing))) for i in range(5)
    ]
    torch.testing.assert_close(mixup.mix(crop, mixing), torch.cat(single))


def test_the_state_is_whole():
    mixup = bank_of(torch.randn(5, 1, 4, 6))
    other = LogMixupExp(ratio=0.4, bank_size=8, n_mels=4, crop_frames=6)
    other.load_state_dict(mixup.state_dict())
    crop = torch.randn(5, 1, 4, 6)
    assert torch.equal(mixup(crop, torch_generator(0, "x")), other(crop, torch_generator(0, "x")))


@pytest.mark.parametrize(
    ("ratio", "size", "named"), [(1.5, 8, "mixup_ratio=1.5"), (0.4, 0, "mixup_bank=0")]
)
def test_errors_name_value_and_rule(ratio, size, named):
    with pytest.raises(ValueError, match=named):
        LogMixupExp(ratio=ratio, bank_size=size, n_mels=4, crop_frames=6)
