from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from unfused.distillation.loss import self_distillation_loss


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def reference(
    blocks: list[np.ndarray], teacher: np.ndarray, labels: np.ndarray, alpha: float, beta: float
) -> float:
    """Poster formula with the official code's terms, in float64."""
    rows = np.arange(len(labels))
    p_t = softmax(teacher)
    loss = -np.log(p_t[rows, labels]).mean()
    for block in blocks:
        p = softmax(block)
        ce = -np.log(p[rows, labels]).mean()
        kl = (p_t * (np.log(p_t) - np.log(p))).sum(axis=1).mean()
        unit_block = block / np.linalg.norm(block, axis=1, keepdims=True)
        unit_teacher = teacher / np.linalg.norm(teacher, axis=1, keepdims=True)
        hint = ((unit_block - unit_teacher) ** 2).sum(axis=1).mean()
        loss += alpha * ce + (1 - alpha) * kl + beta * hint
    return float(loss)


def draw(dtype: torch.dtype = torch.float32) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

    return {
        "block_logits": [normal(5, 4) for _ in range(3)],
        "teacher_logits": normal(5, 4),
        "labels": torch.tensor([0, 3, 1, 1, 2]),
        "block_features": [normal(5, 6) for _ in range(3)],
        "teacher_features": normal(5, 6),
    }


def test_by_hand() -> None:
    """Uniform block, teacher with odds 3 : 1, one clip of class 0."""
    block, teacher = torch.zeros(1, 2), torch.tensor([[np.log(3.0), 0.0]]).float()
    loss, parts = self_distillation_loss([block], teacher, torch.tensor([0]), alpha=0.75, beta=0.5)
    kl = 0.75 * np.log(0.75 / 0.5) + 0.25 * np.log(0.25 / 0.5)
    assert parts["ce"].item() == pytest.approx(-np.log(0.75), abs=1e-6)
    assert parts["block_ce"].item() == pytest.approx(np.log(2), abs=1e-6)
    assert parts["block_kl"].item() == pytest.approx(kl, abs=1e-6)
    assert parts["block_mse"].item() == pytest.approx(2.0)  # cosine with the zero vector is 0
    expected = -np.log(0.75) + 0.75 * np.log(2) + 0.25 * kl + 0.5 * 2.0
    assert loss.item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("alpha", "beta"), [(0.7, 0.003), (0.0, 1.0), (1.0, 0.0)])
def test_equals_numpy_in_float64(alpha: float, beta: float) -> None:
    given = draw()
    loss, _ = self_distillation_loss(**given, alpha=alpha, beta=beta)
    blocks = [block.double().numpy() for block in given["block_logits"]]
    teacher = given["teacher_logits"].double().numpy()
    expected = reference(blocks, teacher, given["labels"].numpy(), alpha, beta)
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_features_hint_is_the_mean_squared_error() -> None:
    given = draw()
    _, parts = self_distillation_loss(**given, mse_on="features")
    target = given["teacher_features"].numpy()
    expected = sum(((z.numpy() - target) ** 2).mean() for z in given["block_features"])
    assert parts["block_mse"].item() == pytest.approx(expected, rel=1e-5)


def test_renaming_classes_and_reordering_clips_change_nothing() -> None:
    given = draw()
    expected, _ = self_distillation_loss(**given)
    order, clips = torch.tensor([2, 0, 3, 1]), torch.tensor([4, 2, 0, 1, 3])
    renamed, _ = self_distillation_loss(
        [z[clips][:, order] for z in given["block_logits"]],
        given["teacher_logits"][clips][:, order],
        order.argsort()[given["labels"]][clips],
    )
    torch.testing.assert_close(renamed, expected)


def test_agreeing_blocks_have_no_divergence_and_no_hint() -> None:
    given = draw()
    teacher = given["teacher_logits"]
    _, parts = self_distillation_loss([teacher, teacher], teacher, given["labels"])
    assert parts["block_kl"].item() == pytest.approx(0.0, abs=1e-6)
    assert parts["block_mse"].item() == pytest.approx(0.0, abs=1e-6)
    torch.testing.assert_close(parts["block_ce"], 2 * parts["ce"])


@pytest.mark.parametrize("mse_on", ["logits", "features"])
@pytest.mark.parametrize("detach_teacher", [True, False])
def test_gradient(mse_on: str, detach_teacher: bool) -> None:
    given = draw(torch.float64)
    tensors = [*given["block_logits"], *given["block_features"]]
    if not detach_teacher:  # a detached teacher is, by design, no derivative of the value
        tensors += [given["teacher_logits"], given["teacher_features"]]

    def loss(*inputs: Tensor) -> Tensor:
        teacher = inputs[6:] or (given["teacher_logits"], given["teacher_features"])
        return self_distillation_loss(
            inputs[:3],
            teacher[0],
            given["labels"],
            block_features=inputs[3:6],
            teacher_features=teacher[1],
            beta=0.5,
            mse_on=mse_on,
            detach_teacher=detach_teacher,
        )[0]

    assert torch.autograd.gradcheck(loss, [tensor.requires_grad_() for tensor in tensors])


@pytest.mark.parametrize("mse_on", ["logits", "features"])
def test_detached_teacher_learns_from_its_own_labels_only(mse_on: str) -> None:
    given = draw()
    logits = given["teacher_logits"].requires_grad_()
    features = given["teacher_features"].requires_grad_()
    loss, _ = self_distillation_loss(**given, mse_on=mse_on)
    loss.backward()
    alone = logits.detach().clone().requires_grad_()
    torch.nn.functional.cross_entropy(alone, given["labels"]).backward()
    torch.testing.assert_close(logits.grad, alone.grad)
    assert features.grad is None


def test_bfloat16_is_close_and_gives_float32() -> None:
    given = draw()
    expected, _ = self_distillation_loss(**given, mse_on="features")
    half = {
        "block_logits": [z.bfloat16() for z in given["block_logits"]],
        "teacher_logits": given["teacher_logits"].bfloat16(),
        "labels": given["labels"],
        "block_features": [z.bfloat16() for z in given["block_features"]],
        "teacher_features": given["teacher_features"].bfloat16(),
    }
    loss, parts = self_distillation_loss(**half, mse_on="features")
    assert {part.dtype for part in [loss, *parts.values()]} == {torch.float32}
    torch.testing.assert_close(loss, expected, rtol=0.02, atol=0.0)


def test_errors_name_the_remedy() -> None:
    given = draw()
    with pytest.raises(ValueError, match=r"mse_on='cosine' is unknown.*logits"):
        self_distillation_loss(**given, mse_on="cosine")
    del given["block_features"]
    with pytest.raises(ValueError, match="block_features and teacher_features"):
        self_distillation_loss(**given, mse_on="features")
