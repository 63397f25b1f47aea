from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from unfused import methods
from unfused.encoders import AudioNTT, Conformer
from unfused.losses import barlow_twins
from unfused.methods.delores_s import DeLoReSS
from unfused.views.view import View

from .conftest import Toy, train_on_pairs, two_views

SMALL = {"projector_hidden": 24, "projector_dim": 16}


def plain_encoder() -> AudioNTT:
    torch.manual_seed(0)
    return AudioNTT(d=32, channels=8, n_mels=16, dropout=0.0)


def small(encoder: AudioNTT | None = None, **settings: object) -> DeLoReSS:
    return DeLoReSS(encoder or plain_encoder(), **{**SMALL, **settings})  # type: ignore[arg-type]


def test_the_defaults_are_the_papers() -> None:
    method = DeLoReSS(plain_encoder())
    assert method.projector.widths == [32, 8192, 8192]
    layers = [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Linear]
    assert [type(layer) for layer in method.projector] == layers
    assert method.projector[0].bias is None
    assert method.projector[3].bias is None
    assert (method.dropout.p, method.redundancy_weight, method.loss_scale) == (0.5, 0.0051, 1.0)
    assert (method.n_views, method.n_crops, method.crop_frames) == (2, 1, 96)


@pytest.mark.parametrize("dim", [6, 16, 40])
def test_loss_is_barlow_twins_of_the_projections(toy: Toy, dim: int) -> None:
    method = small(dropout=0.0, projector_dim=dim, redundancy_weight=0.02, loss_scale=0.5)
    views, clip_ids = two_views(toy, size=16)
    z_a, z_b = (method.projector(method.encoder(*view)) for view in views)
    loss, metrics = method(views, clip_ids)
    torch.testing.assert_close(loss, barlow_twins(z_a, z_b, 0.02, 0.5))
    assert metrics["loss"] == loss.detach()


def test_lapes_code_is_a_setting(toy: Toy) -> None:
    """``5e-5 * on + 5e-5 * off``, over 32, after two hidden layers of one width."""
    method = small(projector_layers=2, dropout=0.0, redundancy_weight=1.0, loss_scale=5e-5 / 32)
    assert method.projector.widths == [32, 24, 24, 16]
    views, clip_ids = two_views(toy, size=16)
    a, b = (
        nn.functional.batch_norm(method.projector(method.encoder(*view)), None, None, training=True)
        for view in views
    )
    distance = a.T @ b / 16 - torch.eye(16)
    torch.testing.assert_close(method(views, clip_ids)[0], 5e-5 * distance.square().sum() / 32)


def test_dropout_stands_before_the_projector_and_acts_in_training_only(toy: Toy) -> None:
    method = small(dropout=0.5)
    seen: list[Tensor] = []
    method.projector.register_forward_pre_hook(lambda _, given: seen.append(given[0].detach()))
    views, clip_ids = two_views(toy, size=16)
    embedding = method.encoder(*views[0]).detach()
    method(views, clip_ids)
    dropped = (seen[0] == 0) & (embedding != 0)
    assert 0.35 < dropped.sum() / (embedding != 0).sum() < 0.65
    torch.testing.assert_close(seen[0][~dropped], 2.0 * embedding[~dropped])
    assert not torch.equal(seen[0] == 0, seen[1] == 0)  # each view draws its own
    method.eval()
    method(views, clip_ids)
    torch.testing.assert_close(seen[2], method.encoder(*views[0]))


def test_each_view_passes_alone(toy: Toy) -> None:
    """Batch norm sees one view's statistics: view a's projection does not depend on view b."""
    method = small(dropout=0.0)
    seen: list[Tensor] = []
    method.projector.register_forward_hook(lambda *given: seen.append(given[2].detach()))
    (view_a, view_b), clip_ids = two_views(toy, size=16)
    method((view_a, view_b), clip_ids)
    method((view_a, View(5.0 * view_b.log_mel, view_b.spans)), clip_ids)
    assert torch.equal(seen[0], seen[2])
    assert not torch.allclose(seen[1], seen[3])


def test_both_views_and_all_parameters_get_a_gradient(toy: Toy) -> None:
    method = small()
    views, clip_ids = two_views(toy, size=16)
    for view in views:
        view.log_mel.requires_grad_()
    method(views, clip_ids)[0].backward()
    assert all(view.log_mel.grad.abs().sum() > 0 for view in views)
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in method.parameters())


def test_training_makes_views_agree_and_dimensions_differ(toy: Toy) -> None:
    history = train_on_pairs(small(dropout=0.1), toy, 60, size=16)
    start, end = history[0], history[-1]
    assert end["loss"] < 0.6 * start["loss"]
    assert end["correlation"] > start["correlation"] + 0.2
    assert end["std"] > 0.05


def test_metrics_are_detached_scalars_and_show_a_collapse(toy: Toy) -> None:
    method = small()
    views, clip_ids = two_views(toy, size=16)
    _, metrics = method(views, clip_ids)
    assert set(metrics) == {"loss", "correlation", "redundancy", "std", "effective_rank"}
    assert all(value.dim() == 0 and not value.requires_grad for value in metrics.values())
    for parameter in method.encoder.parameters():
        nn.init.zeros_(parameter)
    nn.init.ones_(method.encoder.fc2.bias)
    _, metrics = method(views, clip_ids)
    assert metrics["correlation"].abs() < 0.2  # dropout alone keeps the projections apart
    method.dropout.p = 0.0
    _, metrics = method(views, clip_ids)
    assert (metrics["std"], metrics["correlation"]) == (0.0, 0.0)


def test_state_dict_round_trip_is_exact(toy: Toy) -> None:
    method = small()
    train_on_pairs(method, toy, 2, size=16)
    torch.manual_seed(9)
    other = small(AudioNTT(d=32, channels=8, n_mels=16, dropout=0.0))
    other.load_state_dict(method.state_dict())
    assert train_on_pairs(method, toy, 2, size=16)[-1] == train_on_pairs(other, toy, 2, size=16)[-1]
    expected, state = method.state_dict(), other.state_dict()
    assert all(torch.equal(state[key], expected[key]) for key in expected)


def test_bfloat16_autocast(toy: Toy) -> None:
    method = small(dropout=0.0)
    views, clip_ids = two_views(toy, size=16)
    exact, _ = method(views, clip_ids)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss, _ = method(views, clip_ids)
    loss.backward()
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, exact, rtol=0.05, atol=0.0)


def test_any_encoder_and_any_cut_will_do() -> None:
    clips = View(torch.randn(4, 1, 16, 24), torch.tensor([[0.0, 24.0]]).expand(4, 2))
    encoders = (
        AudioNTT(d=32, channels=8, n_mels=16, cut="block2"),
        Conformer(n_mels=16, n_layers=1, latent_dim=16, embed_dim=16, n_heads=2, ffn_dim=16),
    )
    for encoder in encoders:
        method = DeLoReSS(encoder, **SMALL)  # type: ignore[arg-type]
        loss, _ = method((clips, clips), torch.arange(4))
        assert method.projector.widths[0] == encoder.dim
        assert torch.isfinite(loss)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"dropout": 1.0}, r"dropout=1.0 must be in \[0, 1\)"),
        ({"redundancy_weight": -1.0}, "redundancy_weight=-1.0 must be 0 or positive"),
        ({"loss_scale": 0.0}, "loss_scale=0.0 must be positive"),
        ({"projector_dim": 0}, "at least 1"),
    ],
)
def test_refuses_what_has_no_meaning(settings: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        small(**settings)


def test_made_by_name() -> None:
    method = methods.create("delores_s", plain_encoder(), n_clips=30, **SMALL)
    assert isinstance(method, DeLoReSS)
    assert methods.settings_of("delores_s")["redundancy_weight"].default == 0.0051
