from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from unfused.encoders import AudioNTT
from unfused.losses import bilinear_contrast
from unfused.methods.cola import COLA
from unfused.views.view import View

from .conftest import Toy

CLIPS = torch.arange(16)


def small(projector_dim: int = 8) -> COLA:
    torch.manual_seed(0)
    encoder = AudioNTT(d=32, channels=8, n_mels=16, dropout=0.0)
    return COLA(encoder, projector_dim=projector_dim, bilinear_std=0.2)  # few dimensions, so more


def test_it_asks_for_two_crops_of_every_clip() -> None:
    method = COLA(AudioNTT(d=32, channels=8, n_mels=16))
    assert (method.n_views, method.n_crops, method.crop_frames) == (2, 2, 96)
    assert method.projector.widths == [32, 512]
    assert method.bilinear.shape == (512, 512)
    assert method.bilinear.std().item() == pytest.approx(0.005, rel=0.02)


def test_loss_is_the_contrast_of_projections_that_pass_together(toy: Toy) -> None:
    method = small()
    a, b = toy.pair(CLIPS)
    loss, metrics = method((a, b), CLIPS)
    together = View(torch.cat([a.log_mel, b.log_mel]), torch.cat([a.spans, b.spans]))
    linear = method.projector(method.encoder(*together))
    anchors, positives = F.layer_norm(linear, (8,)).tanh().split(16)
    expected, found = bilinear_contrast(anchors, positives, method.bilinear)
    torch.testing.assert_close(loss, expected)
    assert metrics["found"] == found


def test_everything_gets_a_gradient(toy: Toy) -> None:
    method = small()
    method(toy.pair(CLIPS), CLIPS)[0].backward()
    for name, parameter in method.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name


def test_projections_are_bounded(toy: Toy) -> None:
    method = small()
    view = toy.view(CLIPS)
    loud = View(1000.0 * view.log_mel, view.spans)
    assert method.project(loud).abs().max() <= 1.0


def test_it_learns_to_find_the_other_crop() -> None:
    """Every clip has its own spectral profile, under the noise of the crop."""
    torch.manual_seed(0)
    toy = Toy(torch.randn(64, 1, 16, 1).expand(-1, -1, -1, 24), torch.arange(64))
    method = small()
    optimiser = torch.optim.AdamW(method.parameters(), 2e-3)
    torch.manual_seed(0)
    found = []
    for _ in range(60):
        clips = torch.randperm(64)[:16]
        loss, metrics = method((toy.view(clips), toy.view(clips)), clips)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        found.append(metrics["found"].item())
    first, last = sum(found[:10]) / 10, sum(found[-10:]) / 10
    assert last > first + 0.3


def test_metrics_are_detached_scalars(encoder: AudioNTT, toy: Toy) -> None:
    _, metrics = COLA(encoder, projector_dim=8)(toy.pair(CLIPS), CLIPS)
    assert set(metrics) == {"loss", "found", "std", "effective_rank"}
    assert all(value.dim() == 0 and not value.requires_grad for value in metrics.values())


def test_state_dict_round_trip_is_exact(toy: Toy) -> None:
    method, other = (
        small(),
        COLA(AudioNTT(d=32, channels=8, n_mels=16, dropout=0.0), projector_dim=8),
    )
    views = toy.pair(CLIPS)
    method(views, CLIPS)[0].backward()
    other.load_state_dict(method.state_dict())
    assert {"bilinear", "norm.weight", "projector.0.weight"} < set(other.state_dict())
    assert torch.equal(method(views, CLIPS)[0], other(views, CLIPS)[0])


def test_bfloat16_autocast(encoder: AudioNTT, toy: Toy) -> None:
    method = COLA(encoder, projector_dim=8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss, _ = method(toy.pair(CLIPS), CLIPS)
    loss.backward()
    assert loss.dtype == torch.float32
    assert torch.isfinite(loss)


def test_similarities_start_near_1_and_with_the_official_codes_matrix_near_10(toy: Toy) -> None:
    clips = torch.arange(64)
    for bilinear_std, size in ((0.005, 1.0), (0.05, 10.0)):
        torch.manual_seed(0)
        method = COLA(AudioNTT(d=32, channels=8, n_mels=16), bilinear_std=bilinear_std)
        x, y = (method.project(toy.view(clips)) for _ in range(2))
        assert (x @ method.bilinear @ y.T).square().mean().sqrt().item() == pytest.approx(
            size, rel=0.4
        )


def test_refuses_what_has_no_meaning(encoder: AudioNTT) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        COLA(encoder, projector_dim=0)
    with pytest.raises(ValueError, match=r"bilinear_std=0.0 must be positive"):
        COLA(encoder, bilinear_std=0.0)
