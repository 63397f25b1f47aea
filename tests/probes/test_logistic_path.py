import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from unfused.probes.cross_entropy import CrossEntropy
from unfused.probes.logistic_path import LogisticPath, Standardised
from unfused.probes.preconditioner import Spectrum


def made(n: int, dimension: int, n_classes: int = 4, seed: int = 0):
    """Correlated features and class numbers."""
    rng = np.random.default_rng(seed)
    y = rng.integers(n_classes, size=n)
    hidden = rng.normal(size=(n_classes, 8))[y] + rng.normal(size=(n, 8))
    x = hidden @ rng.normal(size=(8, dimension)) + 0.3 * rng.normal(size=(n, dimension))
    return x.astype(np.float32), y


def multi_hot(y):
    """Each clip has its class and the next one."""
    return (np.eye(4)[y] + np.eye(4)[(y + 1) % 4]).astype(np.float32)


@pytest.mark.parametrize("dimension", [20, 90, 300])
def test_the_optimum_is_scikit_learns_with_few_clips_and_with_many(dimension):
    """In all coordinates where clips outnumber them, else in the space of the clips."""
    x, y = made(120, dimension)
    data = Standardised.of(x, y)
    path = LogisticPath(data)
    for strength in (1e-1, 1e-2):
        solution = path.solve(strength, 1e-6, 2000)
    reference = LogisticRegression(C=1 / (120 * 1e-2), tol=1e-8, max_iter=10000)
    reference.fit(data.x.astype(np.float64), y)
    fitted = path.classifier(solution)
    np.testing.assert_allclose(fitted.weight, reference.coef_, atol=3e-3)
    bias = reference.intercept_ - reference.intercept_.mean()
    np.testing.assert_allclose(fitted.bias - fitted.bias.mean(), bias, atol=2e-2)
    held_out = made(50, dimension, seed=1)[0]
    np.testing.assert_allclose(
        path.logits(solution, path.project(held_out)), fitted.logits(held_out), atol=1e-3
    )


@pytest.mark.parametrize("several", [False, True])
def test_residual_and_gradient_are_those_of_autograd(several):
    x, y = (torch.from_numpy(array) for array in made(40, 7))
    targets = torch.from_numpy(multi_hot(y.numpy())) if several else y
    theta = torch.randn(4, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
    logits = x @ theta[:, :-1].T + theta[:, -1]
    if several:
        bce = torch.nn.functional.binary_cross_entropy_with_logits
        expected = bce(logits, targets, reduction="sum") / 40
    else:
        expected = torch.nn.functional.cross_entropy(logits, y)
    expected.backward()
    loss = CrossEntropy(x, targets, 4)
    value = loss.at(loss.logits(theta.detach()))
    assert value.loss == pytest.approx(expected.item(), rel=1e-5)
    torch.testing.assert_close(loss.gradient(value.residual), theta.grad, atol=1e-5, rtol=1e-4)
    p = logits.detach().sigmoid() if several else logits.detach().softmax(1)
    torch.testing.assert_close(value.curvature[:, 0], (p * (1 - p)).mean(0), atol=1e-5, rtol=1e-4)


def test_the_model_is_the_inverse_of_the_hessian_it_stands_for():
    x = torch.from_numpy(made(200, 12)[0])
    curvature, strength = torch.tensor([[0.2], [0.05]]), 0.01
    gradient = torch.randn(2, 13, generator=torch.Generator().manual_seed(0))
    found = Spectrum.of(x).inverse(curvature, strength).times(gradient)
    for c, h in enumerate(curvature[:, 0]):
        hessian = h * (x.T @ x / 200).double() + strength * torch.eye(12)
        expected = torch.linalg.solve(hessian, gradient[c, :-1].double())
        torch.testing.assert_close(found[c, :-1].double(), expected, atol=1e-3, rtol=1e-3)
        assert float(found[c, -1]) == pytest.approx(float(gradient[c, -1] / h), rel=1e-5)


def test_leading_eigenvectors_are_found_and_the_rest_is_one_mean():
    x = torch.from_numpy(made(500, 200)[0])
    exact = torch.linalg.eigvalsh(x.T @ x / 500).flip(0)
    found = Spectrum.of(x, rank=20)
    torch.testing.assert_close(found.values.flip(0)[:8], exact[:8], atol=1e-2, rtol=1e-3)
    total = float(found.values.sum()) + 180 * found.rest
    assert total == pytest.approx(float(exact.sum()), rel=1e-4)


def test_a_model_of_the_hessian_saves_passes_over_the_clips(monkeypatch):
    """On ill-conditioned features; the optimum is the same without it."""
    x, y = made(400, 60, seed=3)
    data, passes, objectives = Standardised.of(x, y), [], []
    gradient = CrossEntropy.gradient
    for blind in (False, True):
        calls = []
        with monkeypatch.context() as patch:
            patch.setattr(CrossEntropy, "gradient", lambda *a, c=calls: c.append(1) or gradient(*a))
            if blind:
                nothing = Spectrum(torch.zeros(60, 1), torch.zeros(1), 1.0)
                patch.setattr(Spectrum, "of", lambda *a, s=nothing: s)
            solution = LogisticPath(data).solve(1e-3, 1e-5, 2000)
        passes.append(len(calls))
        theta = solution.point.theta
        penalty = 1e-3 / 2 * float(theta[:, :-1].square().sum())
        objectives.append(solution.point.value.loss + penalty)
    assert objectives[0] == pytest.approx(objectives[1], rel=1e-4)
    assert passes[0] < passes[1]


@pytest.mark.parametrize("several", [False, True])
def test_a_path_ends_where_a_cold_start_ends(several):
    x, y = made(150, 250)
    data = Standardised.of(x, multi_hot(y) if several else y)
    warm, cold = LogisticPath(data), LogisticPath(data)
    for strength in (1.0, 1e-1, 1e-4):
        kept = warm.solve(strength, 3e-4)
    warm.resume(kept)
    first, second = (path.classifier(path.solve(1e-2, 1e-6)) for path in (warm, cold))
    np.testing.assert_allclose(first.weight, second.weight, atol=2e-3)


@pytest.mark.parametrize("seed", range(3))
def test_few_leading_dimensions_and_weak_penalties_are_solved(seed):
    """All eigenvectors are kept at 120 dimensions; nearly all of the variance is in two of them."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(2000, 2)) @ rng.normal(size=(2, 120)) + 0.01 * rng.normal(size=(2000, 120))
    path = LogisticPath(Standardised.of(x.astype(np.float32), rng.integers(10, size=2000)))
    for strength in (1e1, 1e0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6):
        solution = path.solve(strength, 1e-5)
    gradient = solution.point.gradient.clone()
    gradient[:, :-1] += strength * solution.point.theta[:, :-1]
    assert float(gradient.abs().max()) <= 3e-5
