import math

import pytest
import torch

from unfused.core.seeding import torch_generator
from unfused.views import View
from unfused.views.mixup import draw_mixup, mix_labelled


def test_by_hand():
    log_mel = torch.tensor([1.0, 3.0]).log().view(2, 1, 1, 1)
    view = View(log_mel, torch.tensor([[0.0, 4.0], [2.0, 9.0]]))
    targets, partner = torch.eye(2), torch.tensor([1, 0])
    mixed, shares = mix_labelled(view, targets, torch.tensor([0.25, 0.5]), partner)
    assert mixed.log_mel.exp().flatten().tolist() == pytest.approx([1.5, 2.0])
    torch.testing.assert_close(shares, torch.tensor([[0.75, 0.25], [0.5, 0.5]]))
    assert mixed.spans.tolist() == [[0.0, 9.0], [0.0, 9.0]]


def test_no_share_returns_the_crop_and_the_whole_share_its_partner():
    view = View(torch.randn(3, 1, 4, 5), torch.tensor([[0.0, 5.0]]).expand(3, 2))
    targets, partner = torch.eye(3), torch.tensor([1, 2, 0])
    same, kept = mix_labelled(view, targets, torch.zeros(3), partner)
    assert torch.equal(same.log_mel, view.log_mel)
    assert torch.equal(kept, targets)
    other, swapped = mix_labelled(view, targets, torch.ones(3), partner)
    torch.testing.assert_close(other.log_mel, view.log_mel[partner])
    assert torch.equal(swapped, targets[partner])


def test_the_batch_equals_a_loop():
    view = View(torch.randn(4, 1, 2, 3), torch.tensor([[0.0, 3.0]]).expand(4, 2))
    weight, partner = draw_mixup(4, 0.5, torch_generator(0, "x"))
    whole, shares = mix_labelled(view, torch.eye(4), weight, partner)
    for i in range(4):
        power = (1 - weight[i]) * view.log_mel[i].exp() + weight[i] * view.log_mel[partner[i]].exp()
        torch.testing.assert_close(whole.log_mel[i], power.log())
        assert shares[i].sum().item() == pytest.approx(1.0)


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_shares_are_beta_and_partners_a_permutation(alpha):
    weight, partner = draw_mixup(20000, alpha, torch_generator(0, "x"))
    assert weight.mean().item() == pytest.approx(0.5, abs=0.02)
    assert weight.std().item() == pytest.approx(math.sqrt(0.25 / (2 * alpha + 1)), abs=0.015)
    assert torch.equal(partner.sort().values, torch.arange(20000))


def test_a_tiny_alpha_gives_finite_shares():
    weight, _ = draw_mixup(1000, 1e-4, torch_generator(0, "x"))
    assert weight.isfinite().all()
    assert (weight * (1 - weight)).max() < 0.26


def test_the_same_generator_gives_the_same_draw():
    one, two, other = (draw_mixup(9, 1.0, torch_generator(s, "x"))[0] for s in (0, 0, 1))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)
