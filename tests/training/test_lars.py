"""LARS against its algorithm in NumPy and against another library, over whole trainings."""

import numpy as np
import pytest
import torch
from torch import nn

from unfused.training.optimisers import LARS, create, learning_rate

STEPS, WARMUP, PEAK = 40, 10, 0.8
MOMENTUM, DECAY, TRUST = 0.9, 1e-2, 1e-3


def weights_and_gradients(seed=0):
    """Return the start of a matrix, a kernel and a bias, and their gradients at every step."""
    rng = np.random.default_rng(seed)
    start = [rng.normal(size=shape) for shape in ((5, 3), (2, 1, 3, 3), (4,))]
    return start, [[rng.normal(size=w.shape) for w in start] for _ in range(STEPS)]


def rate(step):
    return learning_rate(step, STEPS, WARMUP, PEAK)


def algorithm(start, gradients, rates):
    """You, Gitman and Ginsburg 2017, algorithm 1, in float64; biases by plain momentum."""
    weights = [w.copy() for w in start]
    velocities = [np.zeros_like(w) for w in start]
    for g_all, step_rate in zip(gradients, rates, strict=True):
        for w, v, g in zip(weights, velocities, g_all, strict=True):
            local, decay = 1.0, 0.0
            if w.ndim > 1:
                decay = DECAY
                norm = np.sqrt(np.sum(w**2))
                local = TRUST * norm / (np.sqrt(np.sum(g**2)) + decay * norm)
            v[...] = MOMENTUM * v + step_rate * local * (g + decay * w)
            w -= v
    return weights


def run(optimiser, parameters, gradients, rates):
    for g_all, step_rate in zip(gradients, rates, strict=True):
        for parameter, g in zip(parameters, g_all, strict=True):
            parameter.grad = torch.as_tensor(g, dtype=parameter.dtype)
        for group in optimiser.param_groups:
            group["lr"] = step_rate
        optimiser.step()
    return [parameter.detach().numpy() for parameter in parameters]


def parameters_of(start, dtype=torch.float64):
    return [nn.Parameter(torch.tensor(w, dtype=dtype)) for w in start]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_equals_the_algorithm_through_warm_up_and_cosine(dtype, tolerance):
    start, gradients = weights_and_gradients()
    rates = [rate(step) for step in range(STEPS)]
    parameters = parameters_of(start, dtype)
    optimiser = create("lars", parameters, lr=PEAK, momentum=MOMENTUM, weight_decay=DECAY)
    mine = run(optimiser, parameters, gradients, rates)
    expected = algorithm(start, gradients, rates)
    for w, other, first in zip(mine, expected, start, strict=True):
        np.testing.assert_allclose(w, other, rtol=tolerance, atol=tolerance)
        assert np.abs(other - first).max() > 1e-3  # it went somewhere


def test_equals_lightlys_at_a_constant_rate():
    """At a changing rate its velocity, which leaves the rate out, is another algorithm."""
    theirs = pytest.importorskip("lightly.utils.lars").LARS
    start, gradients = weights_and_gradients()
    rates = [PEAK] * STEPS
    settings = {"momentum": MOMENTUM, "weight_decay": DECAY}
    first, second = parameters_of(start[:2]), parameters_of(start[:2])
    gradients = [step[:2] for step in gradients]
    mine = run(LARS(first, PEAK, trust=TRUST, **settings), first, gradients, rates)
    other = theirs(second, PEAK, trust_coefficient=TRUST, eps=0.0, **settings)
    for w, expected in zip(mine, run(other, second, gradients, rates), strict=True):
        np.testing.assert_allclose(w, expected, rtol=1e-12)


def test_the_warm_up_ends_and_does_not_start_anew_in_the_next_epoch():
    """DeLoRes' official code takes the step within the epoch and never leaves the warm-up."""
    epochs, per_epoch = 100, 7
    total = epochs * per_epoch
    rates = [learning_rate(step, total, 10 * per_epoch, 0.8) for step in range(total)]
    assert rates[: 10 * per_epoch] == sorted(rates[: 10 * per_epoch])
    assert rates[10 * per_epoch - 1] == pytest.approx(0.8)
    assert rates[10 * per_epoch :] == sorted(rates[10 * per_epoch :], reverse=True)
    assert rates[-1] == pytest.approx(0.8 / 1000)
