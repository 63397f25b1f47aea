import pytest
import torch

from unfused.core.seeding import torch_generator
from unfused.views import View
from unfused.views.effects import linear_fade, random_linear_fade


def view_of(n=6, n_frames=24):
    log_mel = torch.randn(n, 1, 8, n_frames, generator=torch_generator(0, "crops"))
    return View(log_mel, torch.tensor([[0.0, n_frames]]).expand(n, 2))


def test_by_hand():
    silent = torch.zeros(2, 1, 3, 5)
    faded = linear_fade(silent, torch.tensor([-1.0, 0.5]), torch.tensor([1.0, 0.5]))
    assert faded[0, 0, 0].tolist() == pytest.approx([-1.0, -0.5, 0.0, 0.5, 1.0])
    assert faded[1, 0, 2].tolist() == pytest.approx([0.5] * 5)
    assert torch.equal(faded[:, :, 0], faded[:, :, 1])  # the same in every band


def test_without_gain_nothing_changes_and_nothing_is_drawn():
    generator = torch_generator(0, "x")
    before, view = generator.get_state(), view_of()
    assert random_linear_fade(view, 0.0, generator) is view
    assert torch.equal(generator.get_state(), before)


def test_the_batch_equals_a_loop():
    view, ends = view_of(), torch.rand(2, 6)
    whole = linear_fade(view.log_mel, *ends)
    for i in range(6):
        slope = torch.linspace(ends[0, i].item(), ends[1, i].item(), 24)
        torch.testing.assert_close(whole[i], view.log_mel[i] + slope)


def test_both_ends_are_uniform_and_independent():
    silent = View(torch.zeros(4000, 1, 1, 10), torch.tensor([[0.0, 10.0]]).expand(4000, 2))
    log_mel, spans = random_linear_fade(silent, 2.0, torch_generator(0, "x"))
    ends = log_mel[:, 0, 0, [0, -1]]
    assert -2.0 <= ends.min() < -1.99
    assert 1.99 < ends.max() <= 2.0
    torch.testing.assert_close(ends.mean(dim=0), torch.zeros(2), atol=0.06, rtol=0)
    torch.testing.assert_close(ends.std(dim=0), torch.full((2,), 2.0 / 3.0**0.5), atol=0.04, rtol=0)
    assert torch.corrcoef(ends.T)[0, 1].abs() < 0.05
    assert torch.equal(spans, silent.spans)


def test_the_same_generator_gives_the_same_fades():
    one, two, other = (
        random_linear_fade(view_of(), 1.0, torch_generator(seed, "x")).log_mel for seed in (0, 0, 1)
    )
    assert torch.equal(one, two)
    assert not torch.equal(one, other)
