from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from unfused.distillation.embedding_distillation import (
    EmbeddingDistillation,
    embedding_distillation_loss,
)
from unfused.encoders import AudioNTT

from .conftest import Toy, train


def draw(n: int = 4) -> tuple[dict[str, Tensor], Tensor]:
    generator = torch.Generator().manual_seed(0)
    heads = {tap: torch.randn(n, 3, generator=generator).double() for tap in ("block3", "fc2")}
    return heads, torch.randn(n, 3, generator=generator).double()


def test_by_hand() -> None:
    """One head at 60 degrees from the target, the other against it."""
    predictions = {
        "block3": torch.tensor([[1.0, 3**0.5]]),
        "fc2": torch.tensor([[-5.0, 0.0]]),
    }
    loss, parts = embedding_distillation_loss(predictions, torch.tensor([[2.0, 0.0]]))
    assert parts["distance_block3"].item() == pytest.approx(1.0, abs=1e-6)
    assert parts["distance_fc2"].item() == pytest.approx(4.0, abs=1e-6)
    assert loss.item() == pytest.approx(2.5, abs=1e-6)


def test_equals_the_squared_distance_of_unit_vectors() -> None:
    predictions, targets = draw()
    units = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in map(np.asarray, (targets,))]
    distances = [
        ((p.numpy() / np.linalg.norm(p.numpy(), axis=1, keepdims=True) - units[0]) ** 2)
        .sum(axis=1)
        .mean()
        for p in predictions.values()
    ]
    loss, _ = embedding_distillation_loss(predictions, targets)
    assert loss.item() == pytest.approx(np.mean(distances), rel=1e-12)


def test_gradient() -> None:
    predictions, targets = draw()
    inputs = [tensor.requires_grad_() for tensor in predictions.values()]

    def loss(*given: Tensor) -> Tensor:
        return embedding_distillation_loss(dict(zip(predictions, given, strict=True)), targets)[0]

    assert torch.autograd.gradcheck(loss, inputs)


def embed(student: AudioNTT, toy: Toy) -> np.ndarray:
    student.eval()
    with torch.no_grad():
        return student(toy.log_mel).numpy()


def neighbours_right(embedding: np.ndarray, kinds: Tensor) -> float:
    """Return how often a clip's nearest neighbour is of its kind."""
    centred = embedding - embedding.mean(axis=0)
    units = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    similarity = units @ units.T - 2 * np.eye(len(units))
    return float((kinds.numpy()[similarity.argmax(axis=1)] == kinds.numpy()).mean())


@pytest.mark.usefixtures("one_thread")
def test_a_student_learns_what_the_teacher_tells_apart(toy: Toy) -> None:
    """The teacher tells the kinds apart; noise hides them from an untrained encoder."""
    torch.manual_seed(0)
    toy.log_mel += 2.0 * torch.randn_like(toy.log_mel)
    encoder = AudioNTT(d=32, channels=8, n_mels=16, dropout=0.0)
    before = neighbours_right(embed(encoder.truncated("block3"), toy), toy.kinds)
    targets = torch.eye(4)[toy.kinds] - 0.25
    method = EmbeddingDistillation(encoder, targets=targets)
    rows = train(method, toy, epochs=12)
    assert set(rows[0]) == {"loss", "distance_block3", "distance_fc2"}
    assert rows[-1]["loss"] < 0.5 * rows[0]["loss"]
    after = neighbours_right(embed(method.student(), toy), toy.kinds)
    assert after > before + 0.1
    assert after > 0.9


def test_heads_stand_at_the_blocks_and_at_the_end(encoder: AudioNTT) -> None:
    method = EmbeddingDistillation(encoder, targets=torch.randn(3, 7), blocks=("block1", "block2"))
    assert {tap: head.out_features for tap, head in method.heads.items()} == {
        "block1": 7, "block2": 7, "fc2": 7
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"targets": torch.randn(3)}, "targets of shape"),
        ({"targets": torch.full((3, 2), torch.nan)}, "finite"),
        ({"blocks": ("fc2",)}, "blocks"),
    ],
)
def test_refuses_what_has_no_meaning(encoder: AudioNTT, changed: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        EmbeddingDistillation(encoder, **{"targets": torch.randn(3, 2), **changed})
