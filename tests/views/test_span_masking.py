from __future__ import annotations

import pytest
import torch
from torchaudio.models.wav2vec2.components import _compute_mask_indices

from unfused.views.span_masking import check_spans, draw_masked_spans, most_masked, most_spans

SPANS = {"mask_prob": 0.3, "mask_length": 3}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(lengths: list[int], n_frames: int, seed: int = 0, **settings: float) -> torch.Tensor:
    return draw_masked_spans(
        torch.tensor(lengths), n_frames, generator=generator(seed), **{**SPANS, **settings}
    )


def runs(row: torch.Tensor) -> list[int]:
    """Return the lengths of the runs of masked frames."""
    found = "".join("x" if value else " " for value in row.tolist()).split()
    return [len(run) for run in found]


def test_share_and_overlaps_are_torchaudios_over_1000_draws() -> None:
    torch.manual_seed(0)
    theirs = torch.cat([_compute_mask_indices((1, 101), None, 0.3, 3) for _ in range(1000)])
    ours = draw([100] * 1000, 100)
    # Theirs never masks the last of its 101 frames; before it, both draw from 98 starts.
    assert not theirs[:, -1].any()
    share, expected = ours.float().mean(), theirs[:, :-1].float().mean()
    assert share.item() == pytest.approx(expected.item(), abs=0.004)
    inner = slice(3, 97)
    torch.testing.assert_close(
        ours[:, inner].float().mean(0), theirs[:, inner].float().mean(0), atol=0.075, rtol=0
    )
    n_runs = [torch.tensor([float(len(runs(row))) for row in mask]) for mask in (ours, theirs)]
    assert n_runs[0].mean().item() == pytest.approx(n_runs[1].mean().item(), abs=0.15)
    assert ours[:, -1].any()  # the last frame can be masked


@pytest.mark.parametrize(("length", "n"), [(100, 10.0), (36, 3.6), (25, 2.5)])
def test_the_number_of_spans_is_rounded_at_random(length: int, n: float) -> None:
    """With spans of one frame the masked frames are the spans."""
    masked = draw([length] * 4000, 120, mask_prob=n / length, mask_length=1).sum(dim=1).float()
    assert masked.mean().item() == pytest.approx(n, abs=0.03)
    assert set(masked.tolist()) <= {float(int(n)), float(int(n) + 1)}


def test_share_without_overlap_is_mask_prob_and_with_overlap_a_little_less() -> None:
    masked = draw([240] * 1000, 240)
    assert masked.float().mean().item() == pytest.approx(1 - (1 - 0.3 / 3) ** 3, abs=0.01)
    assert masked.sum(1).max() <= most_masked(240, **SPANS)


def test_only_real_frames_and_at_least_one_span() -> None:
    lengths = [1, 2, 3, 4, 5, 6, 7, 20, 60]
    for seed in range(200):
        masked = draw(lengths, 60, seed)
        for row, length in zip(masked, lengths, strict=True):
            assert not row[length:].any()
            assert row.any()
            span = min(3, max(1, length // 2))
            assert min(runs(row)) >= span
            if length > 1:
                assert not row[:length].all()


def test_every_start_is_equally_likely() -> None:
    masked = draw([8] * 9000, 20, mask_prob=0.01)  # one span of three in eight frames
    begins = masked.byte().argmax(dim=1)
    assert (masked.sum(dim=1) == 3).all()
    shares = torch.bincount(begins, minlength=6) / 9000
    torch.testing.assert_close(shares, torch.full((6,), 1 / 6), atol=0.02, rtol=0)


def test_same_generator_same_masks_and_the_global_one_by_default() -> None:
    lengths = torch.tensor([30, 12])
    first, second, other = draw([30, 12], 30, 1), draw([30, 12], 30, 1), draw([30, 12], 30, 2)
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    found = []
    for seed in (5, 5, 6):
        torch.manual_seed(seed)
        found.append(draw_masked_spans(lengths, 30, **SPANS))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_clips_of_a_batch_are_masked_independently_of_each_other() -> None:
    masked = draw([40] * 2000, 40).float()
    one, two = masked[::2] - masked.mean(0), masked[1::2] - masked.mean(0)
    assert (one * two).mean().abs() < 0.005
    alone = torch.stack([draw([40], 40, seed)[0] for seed in range(1000)]).float()
    torch.testing.assert_close(alone.mean(0), masked.mean(0), atol=0.06, rtol=0)


@pytest.mark.parametrize("n_frames", [1, 2, 3, 7, 36, 100, 250])
@pytest.mark.parametrize("mask_prob", [0.05, 0.3, 0.65, 1.0])
@pytest.mark.parametrize("mask_length", [1, 3, 10])
def test_the_bound_on_masked_frames_holds(
    n_frames: int, mask_prob: float, mask_length: int
) -> None:
    settings = {"mask_prob": mask_prob, "mask_length": mask_length}
    masked = draw([n_frames] * 300, n_frames, **settings)
    assert 1 <= masked.sum(dim=1).max() <= most_masked(n_frames, **settings) <= n_frames
    assert most_spans(n_frames, **settings) >= mask_prob * n_frames / mask_length


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ((0.0, 3), "mask_prob=0.0 must be in"),
        ((1.2, 3), "mask_prob=1.2 must be in"),
        ((0.3, 0), "mask_length=0 must be at least 1"),
    ],
)
def test_refuses_what_has_no_meaning(settings: tuple[float, int], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        check_spans(*settings)
