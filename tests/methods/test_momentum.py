from __future__ import annotations

import pytest
import torch
from torch import nn

from unfused.encoders import AudioNTT, Projector
from unfused.methods.momentum import MomentumMethod, follow, momentum_copy

from .conftest import state


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))


def change(module: nn.Module) -> None:
    """Move every weight, and the running averages and counters as training does."""
    module.train()(5.0 + 2.0 * torch.randn(16, 3))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter))


def test_average_by_hand() -> None:
    online = nn.Linear(1, 1)
    with torch.no_grad():
        online.weight.fill_(1.0)
        online.bias.fill_(-2.0)
    teacher = momentum_copy(online)
    with torch.no_grad():
        online.weight.fill_(3.0)
        online.bias.fill_(0.0)
    follow(teacher, online, 0.75)
    assert teacher.weight.item() == pytest.approx(0.75 * 1.0 + 0.25 * 3.0)
    assert teacher.bias.item() == pytest.approx(0.75 * -2.0)
    follow(teacher, online, 0.75)
    assert teacher.weight.item() == pytest.approx(0.75 * 1.5 + 0.25 * 3.0)


def test_every_number_of_the_copy_is_the_average_of_the_online_one_over_time() -> None:
    online = network()
    teacher = momentum_copy(online)
    expected = {name: value.double() for name, value in state(online).items()}
    for _ in range(20):
        change(online)
        follow(teacher, online, 0.9)
        for name, value in online.state_dict().items():
            expected[name] = 0.9 * expected[name] + 0.1 * value.double()
    for name, value in teacher.state_dict().items():
        if value.is_floating_point():
            torch.testing.assert_close(value.double(), expected[name], rtol=1e-5, atol=1e-6)
    assert teacher[1].running_mean.abs().max() > 0.1  # they did move


def test_counters_are_copied() -> None:
    online = network()
    teacher = momentum_copy(online)
    for steps in (1, 2, 3):
        change(online)
        for _ in range(3):  # it counts its own batches too
            teacher.train()(torch.randn(8, 3))
        follow(teacher, online, 0.999)
        assert teacher[1].num_batches_tracked.item() == steps


@pytest.mark.parametrize("momentum", [0.0, 1.0])
def test_the_ends_of_the_range_are_exact(momentum: float) -> None:
    online = network()
    teacher = momentum_copy(online)
    change(online)
    expected = state(teacher if momentum else online)
    follow(teacher, online, momentum)
    for name, value in teacher.state_dict().items():
        if value.is_floating_point():
            assert torch.equal(value, expected[name]), name


def test_the_copy_never_touches_its_running_averages_itself() -> None:
    online = network()
    change(online)
    teacher = momentum_copy(online)
    before = state(teacher)
    for _ in range(3):
        teacher.train()(7.0 + torch.randn(8, 3))
    assert torch.equal(teacher[1].running_mean, before["1.running_mean"])
    assert torch.equal(teacher[1].running_var, before["1.running_var"])


def test_in_training_mode_the_copy_normalises_with_its_own_batch() -> None:
    online = network()
    teacher = momentum_copy(online)
    x = 3.0 + torch.randn(8, 3)
    torch.testing.assert_close(teacher.train()(x), online.train()(x))
    assert (teacher.eval()(x) - teacher.train()(x)).abs().max() > 0.01


def test_copy_gets_no_gradient_and_shares_nothing() -> None:
    online = network()
    online(torch.randn(4, 3)).sum().backward()
    teacher = momentum_copy(online)
    assert all(p.grad is None and not p.requires_grad for p in teacher.parameters())
    assert all(p.requires_grad and p.grad is not None for p in online.parameters())
    theirs = {tensor.data_ptr() for tensor in online.state_dict().values()}
    assert not theirs & {tensor.data_ptr() for tensor in teacher.state_dict().values()}
    assert not (teacher(torch.randn(4, 3))).requires_grad
    before = state(online)
    change(online)
    follow(teacher, online, 0.5)
    assert all(p.requires_grad for p in online.parameters())
    assert any(not torch.equal(value, before[name]) for name, value in online.state_dict().items())


def test_following_leaves_the_online_network_alone() -> None:
    online = network()
    teacher = momentum_copy(online)
    change(online)
    before = state(online)
    follow(teacher, online, 0.5)
    assert all(torch.equal(value, before[name]) for name, value in online.state_dict().items())


def test_an_encoder_in_channels_last_keeps_its_order() -> None:
    torch.manual_seed(0)
    online = AudioNTT(d=8, n_mels=8, channels=4).to(memory_format=torch.channels_last)
    teacher = momentum_copy(online)
    weight = online.blocks["block2"][0].weight
    mine = teacher.blocks["block2"][0].weight
    before = mine.clone()
    with torch.no_grad():
        weight.add_(1.0)
    follow(teacher, online, 0.9)
    assert mine.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(mine, before + 0.1)


def test_an_average_too_fine_for_half_precision_is_refused() -> None:
    online = nn.Linear(2, 2).bfloat16()
    with pytest.raises(ValueError, match=r"bfloat16 stands still.*float32 and compute under"):
        follow(momentum_copy(online), online, 0.999)


def test_float32_weights_follow_what_was_trained_under_autocast() -> None:
    online = network()
    teacher = momentum_copy(online)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        online(torch.randn(8, 3)).square().mean().backward()
    with torch.no_grad():
        for parameter in online.parameters():
            parameter.sub_(1e-3 * parameter.grad)
    before = state(teacher)
    follow(teacher, online, 0.999)
    moved = teacher[0].weight.double() - before["0.weight"].double()
    expected = 1e-6 * -online[0].weight.grad.double()  # 0.001 of a step of 0.001
    assert (moved - expected).abs().max() < 6e-8  # a rounding of float32 at most
    assert moved.abs().max() > 0


@pytest.mark.parametrize("momentum", [-0.1, 1.1, float("nan")])
def test_momentum_is_a_share(momentum: float) -> None:
    with pytest.raises(ValueError, match=r"momentum=.* must be in \[0, 1\]"):
        MomentumMethod(AudioNTT(d=4, channels=2), Projector(inputs=4), momentum=momentum)


def test_networks_of_another_make_are_refused() -> None:
    with pytest.raises(ValueError, match="argument 2 is longer"):
        follow(momentum_copy(nn.Linear(2, 2, bias=False)), nn.Linear(2, 2), 0.5)
