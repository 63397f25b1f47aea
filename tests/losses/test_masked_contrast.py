from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from unfused.losses.masked_contrast import (
    clip_losses,
    contrast_logits,
    draw_distractors,
    masked_contrast,
)

N_MASKED = [7, 2, 1, 5]
INPUT = {"n_clips": 4, "size": 7, "dim": 6, "k": 9}


def batch(dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    shape = (INPUT["n_clips"], INPUT["size"], INPUT["dim"])
    predictions, targets = torch.randn(2, *shape, generator=generator, dtype=dtype)
    drawn = draw_distractors(torch.tensor(N_MASKED), INPUT["size"], INPUT["k"], generator)
    return predictions, targets, *drawn


def reference(
    predictions: Tensor, targets: Tensor, distractors: Tensor, counted: Tensor, temperature: float
) -> Tensor:
    """Frame by frame, with torch's cosine similarity and cross entropy, as fairseq has it."""
    losses = []
    for clip, frame in counted.nonzero().tolist():
        true, chosen = targets[clip, frame], distractors[clip, frame]
        candidates = torch.cat([true[None], targets[clip, chosen]])
        logits = F.cosine_similarity(predictions[clip, frame][None], candidates) / temperature
        for i, other in enumerate(candidates[1:], start=1):
            if bool((other == true).all()):
                logits[i] = -torch.inf
        losses.append(F.cross_entropy(logits[None], torch.tensor([0]), reduction="sum"))
    return torch.stack(losses).sum() / len(losses)


def test_by_hand() -> None:
    predictions = torch.tensor([[[1.0, 0.0], [3.0, 4.0]]])
    targets = torch.tensor([[[2.0, 0.0], [0.0, 1.0]]])
    swapped, counted = torch.tensor([[[1, 1], [0, 0]]]), torch.ones(1, 2, dtype=torch.bool)
    loss = masked_contrast(predictions, targets, swapped, counted, temperature=0.5)
    # cosines (1; 0, 0) and (0.8; 0.6, 0.6), both over 0.5
    by_hand = (math.log(1 + 2 * math.exp(-2.0)) + math.log(1 + 2 * math.exp(-0.4))) / 2
    assert loss.item() == pytest.approx(by_hand)


@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_equals_a_loop_in_float64(temperature: float) -> None:
    inputs = batch(torch.float64)
    inputs[1][0, 3] = inputs[1][0, 1]  # two targets of a clip are the same
    expected = reference(*inputs, temperature)
    torch.testing.assert_close(masked_contrast(*inputs, temperature), expected)
    wide = [tensor.float() if tensor.is_floating_point() else tensor for tensor in inputs]
    torch.testing.assert_close(masked_contrast(*wide, temperature), expected.float())


def test_the_gradient_is_the_loops() -> None:
    gradients = []
    for loss in (masked_contrast, reference):
        predictions, targets, *drawn = batch(torch.float64)
        loss(predictions.requires_grad_(), targets.requires_grad_(), *drawn, 0.1).backward()
        gradients.append((predictions.grad, targets.grad))
    for mine, other in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, other)


def test_lengths_of_vectors_and_a_rotation_change_nothing() -> None:
    predictions, targets, *drawn = batch(torch.float64)
    expected = masked_contrast(predictions, targets, *drawn)
    rotation = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64)).Q
    lengths = torch.rand(4, 7, 1, dtype=torch.float64) + 0.5
    other = masked_contrast(predictions @ rotation * lengths, targets @ rotation * 3, *drawn)
    torch.testing.assert_close(other, expected)


def test_frames_that_do_not_count_change_nothing() -> None:
    predictions, targets, distractors, counted = batch()
    expected = masked_contrast(predictions, targets, distractors, counted)
    predictions[~counted], targets[~counted] = 7.0, -3.0
    torch.testing.assert_close(
        masked_contrast(predictions, targets, distractors, counted), expected
    )


def test_gradient() -> None:
    predictions, targets, *drawn = batch(torch.float64)
    assert torch.autograd.gradcheck(
        lambda c, y: masked_contrast(c, y, *drawn, 0.7),
        (predictions.requires_grad_(), targets.requires_grad_()),
    )


def test_a_distractor_that_equals_the_target_is_none() -> None:
    predictions, targets, distractors, counted = batch()
    targets[0, :] = targets[0, 0]  # a clip of digital silence
    logits = contrast_logits(predictions, targets, distractors)
    assert (logits[0, :, 1:] == -torch.inf).all()
    assert logits[1, :2].isfinite().all()
    losses = clip_losses(logits, counted)
    assert losses[0] == 0
    predictions.requires_grad_()
    masked_contrast(predictions, targets, distractors, counted).backward()
    assert (predictions.grad[0] == 0).all()
    assert predictions.grad.isfinite().all()


def test_no_counted_frame_gives_zero_and_no_gradient() -> None:
    predictions, targets, distractors, counted = batch()
    predictions.requires_grad_()
    loss = masked_contrast(predictions, targets, distractors, torch.zeros_like(counted))
    loss.backward()
    assert loss == 0
    assert (predictions.grad == 0).all()


def test_bfloat16_input_under_autocast_is_computed_in_float32() -> None:
    predictions, targets, *drawn = batch()
    predictions, targets = predictions.bfloat16(), targets.bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = masked_contrast(predictions, targets, *drawn)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, masked_contrast(predictions.float(), targets.float(), *drawn))


def test_distractors_are_other_masked_frames_of_the_clip_and_uniform() -> None:
    n_masked = torch.tensor([6, 2, 4])
    counts = torch.zeros(3, 6, 8)
    for seed in range(200):
        generator = torch.Generator().manual_seed(seed)
        drawn, counted = draw_distractors(n_masked, 8, 50, generator)
        for clip, n in enumerate(n_masked.tolist()):
            assert counted[clip].tolist() == [frame < n for frame in range(8)]
            for frame in range(n):
                counts[clip, frame] += torch.bincount(drawn[clip, frame], minlength=8)
    for clip, n in enumerate(n_masked.tolist()):
        for frame in range(n):
            expected = torch.tensor([float(i < n and i != frame) for i in range(8)]) / (n - 1)
            torch.testing.assert_close(counts[clip, frame] / 10_000, expected, atol=0.02, rtol=0)
            assert counts[clip, frame, frame] == 0
            assert counts[clip, frame, n:].sum() == 0


def test_a_clip_with_fewer_than_two_masked_frames_does_not_count() -> None:
    drawn, counted = draw_distractors(torch.tensor([0, 1, 2]), 4, 5)
    assert counted.sum(dim=1).tolist() == [0, 0, 2]
    assert (drawn >= 0).all()
    assert (drawn < 4).all()


def test_other_clips_change_no_logit() -> None:
    predictions, targets, distractors, _ = batch()
    logits = contrast_logits(predictions, targets, distractors)
    alone = contrast_logits(predictions[3:], targets[3:], distractors[3:])
    torch.testing.assert_close(alone[0], logits[3])


def test_temperature_must_be_positive() -> None:
    with pytest.raises(ValueError, match=r"temperature=0.0 must be positive"):
        masked_contrast(*batch(), temperature=0.0)
