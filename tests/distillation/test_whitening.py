from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from torch import Tensor

from unfused.distillation import whitening as module
from unfused.distillation.whitening import Whitening


def correlated(n: int = 500, dim: int = 12) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(dim, dim, generator=generator)
    return torch.randn(n, dim, generator=generator) @ mixing + 5.0


@pytest.mark.parametrize("dim", [None, 5])
def test_equals_scikit_learn_up_to_sign(dim: int | None) -> None:
    features = correlated()
    ours = Whitening(dim).fit(features).transform(features).numpy()
    theirs = PCA(dim, whiten=True, svd_solver="full").fit_transform(features.double().numpy())
    signs = np.sign((ours * theirs).sum(axis=0))
    np.testing.assert_allclose(ours * signs, theirs, atol=1e-3)


def test_whitened_features_have_unit_covariance() -> None:
    features = correlated()
    white = Whitening(None).fit(features).transform(features)
    torch.testing.assert_close(torch.cov(white.T), torch.eye(12), atol=1e-4, rtol=0.0)
    torch.testing.assert_close(white.mean(dim=0), torch.zeros(12), atol=1e-4, rtol=0.0)


def test_rotating_the_features_changes_no_distance() -> None:
    features = correlated()
    rotation = torch.linalg.qr(torch.randn(12, 12)).Q
    plain = Whitening(6).fit(features).transform(features)
    rotated = Whitening(6).fit(features @ rotation).transform(features @ rotation)
    torch.testing.assert_close(
        torch.cdist(plain, plain), torch.cdist(rotated, rotated), atol=2e-2, rtol=1e-2
    )


def test_blocks_and_float16_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    features = correlated().half()
    whole = Whitening(6).fit(features.float())
    monkeypatch.setattr(module, "_BLOCK", 64)
    blocks = Whitening(6).fit(features)
    torch.testing.assert_close(
        blocks.transform(features), whole.transform(features.float()), atol=1e-3, rtol=0.0
    )


def test_axes_without_variance_are_dropped() -> None:
    features = correlated(dim=3)
    doubled = torch.cat([features, 2.0 * features], dim=1)
    whitening = Whitening(None, eps=1e-6).fit(doubled)
    assert whitening.components_.shape == (3, 6)
    assert torch.isfinite(whitening.transform(doubled)).all()


def test_signs_do_not_depend_on_the_library() -> None:
    components = Whitening(4).fit(correlated()).components_
    largest = components.gather(1, components.abs().argmax(dim=1, keepdim=True))
    assert (largest > 0).all()


@pytest.mark.parametrize(
    ("features", "dim", "words"),
    [
        (torch.randn(1, 3), 2, "at least 2 rows of features, got 1"),
        (torch.randn(9, 3), 4, "dim=4 must be at least 1 and at most the features' 3"),
        (torch.ones(9, 3), 2, "the encoder has collapsed"),
    ],
)
def test_errors(features: Tensor, dim: int, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Whitening(dim).fit(features)
