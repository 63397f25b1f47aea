import pytest
import torch
from torch import nn

from unfused.training.optimisers import LARS, create
from unfused.training.settings import OPTIMISERS


def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 1))


def descend(optimiser, model, steps=60):
    x = torch.randn(32, 4, generator=torch.Generator().manual_seed(1))
    y = x.sum(1, keepdim=True)
    losses = []
    for _ in range(steps):
        loss = nn.functional.mse_loss(model(x), y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("name", OPTIMISERS)
def test_every_optimiser_descends(name):
    model = network()
    rate, steps = (0.2, 600) if name == "lars" else (0.02, 60)
    losses = descend(create(name, model.parameters(), lr=rate), model, steps)
    assert losses[-1] < 0.3 * losses[0]


@pytest.mark.parametrize("name", ["adamw", "lars"])
def test_vectors_are_not_decayed(name):
    model = network()
    matrices, vectors = create(name, model.parameters(), lr=0.1, weight_decay=0.5).param_groups
    assert [p.ndim for p in matrices["params"]] == [2, 2]
    assert [p.ndim for p in vectors["params"]] == [1, 1, 1, 1]
    assert (matrices["weight_decay"], vectors["weight_decay"]) == (0.5, 0.0)
    if name == "lars":
        assert (matrices["adapt"], vectors["adapt"]) == (True, False)


def test_decay_alone_shrinks_matrices_only():
    model = network()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimiser = create("adamw", model.parameters(), lr=0.1, weight_decay=0.5)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimiser.step()
    for name, parameter in model.named_parameters():
        factor = 0.95 if parameter.ndim > 1 else 1.0
        torch.testing.assert_close(parameter.detach(), factor * before[name])


def test_frozen_parameters_are_left_out():
    model = network()
    model[0].weight.requires_grad_(False)
    optimiser = create("adam", model.parameters(), lr=0.1)
    assert all(p is not model[0].weight for p in optimiser.param_groups[0]["params"])
    model.requires_grad_(False)
    with pytest.raises(ValueError, match="nothing to train"):
        create("adam", model.parameters(), lr=0.1)


def test_an_unknown_optimiser_is_refused():
    with pytest.raises(ValueError, match=r"optimiser='sdg' is unknown; choose from \['sgd'"):
        create("sdg", network().parameters(), lr=0.1)


def test_lars_worked_by_hand():
    w = nn.Parameter(torch.tensor([[3.0, 4.0]]))  # |w| = 5
    optimiser = LARS([w], 0.1, momentum=0.5, weight_decay=0.2, trust=0.01)
    w.grad = torch.tensor([[0.0, 2.0]])  # |g| = 2: local rate 0.01 * 5 / (2 + 0.2 * 5)
    optimiser.step()
    velocity = 0.1 * 0.05 / 3 * torch.tensor([[0.6, 2.8]])
    torch.testing.assert_close(w.detach(), torch.tensor([[3.0, 4.0]]) - velocity)
    before = w.detach().clone()
    w.grad = torch.zeros_like(w)  # no gradient: local rate 1, decay and momentum remain
    optimiser.step()
    expected = before - (0.5 * velocity + 0.1 * 0.2 * before)
    torch.testing.assert_close(w.detach(), expected)


def test_lars_does_not_depend_on_the_gradients_scale():
    steps = []
    for scale in (1.0, 1000.0):
        w = nn.Parameter(torch.ones(3, 3))
        w.grad = scale * torch.arange(9.0).view(3, 3)
        LARS([w], 1.0, trust=0.01).step()
        steps.append(w.detach() - 1)
    torch.testing.assert_close(*steps)


def test_lars_without_adaptation_is_sgd():
    mine, theirs = network(), network()
    first = descend(LARS(mine.parameters(), 0.02, momentum=0.9, adapt=False), mine)
    second = descend(torch.optim.SGD(theirs.parameters(), 0.02, momentum=0.9), theirs)
    assert first == pytest.approx(second, rel=1e-4)


@pytest.mark.parametrize("name", OPTIMISERS)
def test_biases_may_have_a_rate_of_their_own(name):
    groups = create(name, network().parameters(), lr=0.2, bias_lr=0.0048).param_groups
    assert [group["peak"] for group in groups] == [0.2, 0.0048]
    assert [{p.ndim > 1 for p in group["params"]} for group in groups] == [{True}, {False}]
    same = create(name, network().parameters(), lr=0.2).param_groups
    assert {group["peak"] for group in same} == {0.2}


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_with_a_rate_of_their_own_biases_are_decayed_as_before(name):
    groups = create(name, network().parameters(), lr=0.2, bias_lr=0.1, weight_decay=0.3)
    assert [group["weight_decay"] for group in groups.param_groups] == [0.3, 0.3]
