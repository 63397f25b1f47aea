from __future__ import annotations

import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from unfused import methods
from unfused.distillation.self_distillation import SelfDistillation
from unfused.encoders import AudioNTT, Conformer
from unfused.losses import masked_contrast
from unfused.methods.conformer import ConformerWav2vec2, Draws
from unfused.training.history import signs_of_collapse
from unfused.views.view import View

from ..losses.two_processes import assert_equals_one_process
from .temporal_toy import probe, temporal_toy

TINY = {"n_mels": 16, "latent_dim": 32, "embed_dim": 64, "n_layers": 2, "n_heads": 4, "ffn_dim": 96}
SETTINGS = {"crop_frames": 96, "n_distractors": 20}
METRICS = {"loss", "contrastive_accuracy", "mask_share", "target_std", "std", "effective_rank"}


def small(dropout: float = 0.0, **settings: object) -> ConformerWav2vec2:
    torch.manual_seed(0)
    encoder = Conformer(**TINY, dropout=dropout)
    return ConformerWav2vec2(encoder, **{**SETTINGS, **settings})


def clips(lengths: list[int], n_frames: int = 96) -> View:
    generator = torch.Generator().manual_seed(1)
    log_mel = torch.randn(len(lengths), 1, 16, n_frames, generator=generator)
    return View(log_mel, torch.tensor([[0.0, n] for n in lengths]))


def prepared(method: ConformerWav2vec2, view: View, seed: int = 0) -> tuple[Tensor, Tensor, Draws]:
    latents = method.encoder.latents(*view)
    n_real = method.encoder.n_real(view.spans, latents.shape[1])
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return latents, n_real, method.draw(n_real, latents.shape[1])


def test_loss_is_the_contrast_of_masked_positions_clip_by_clip() -> None:
    method = small().eval()
    latents, n_real, draws = prepared(method, clips([96, 60, 77]))
    loss, metrics = method.contrast(latents, n_real, draws)
    total, right, counted = 0.0, 0, 0
    for b, n in enumerate(n_real.tolist()):
        where = draws.masked[b, :n].nonzero().flatten()
        hidden = latents[b, :n].clone()
        hidden[where] = method.mask_vector
        output = method.encoder.contextualised(hidden[None], None)["layer2"][0, where]
        targets = method.target_projection(latents[b, where])
        chosen = draws.distractors[b, : len(where)]
        assert chosen.max() < len(where)
        everything = torch.ones(1, len(where), dtype=torch.bool)
        one = masked_contrast(output[None], targets[None], chosen[None], everything)
        total, counted = total + one * len(where), counted + len(where)
        cosines = torch.cosine_similarity(output[:, None], targets[None], dim=2)
        rivals = cosines.gather(1, chosen).amax(dim=1)
        right += int((cosines.diagonal() > rivals).sum())
    torch.testing.assert_close(loss, total / counted, rtol=1e-4, atol=1e-5)
    assert metrics["contrastive_accuracy"].item() == pytest.approx(right / counted)
    assert metrics["mask_share"].item() == pytest.approx(counted / int(n_real.sum()))


def test_order_puts_the_masked_latents_first() -> None:
    method = small()
    _, _, draws = prepared(method, clips([96, 60, 4, 30]))
    for masked, order, counted in zip(draws.masked, draws.order, draws.counted, strict=True):
        where = masked.nonzero().flatten()
        assert torch.equal(order[: len(where)], where)
        assert counted.sum() == (len(where) if len(where) > 1 else 0)


class Fixed(nn.Module):
    """A target projection that ignores its input."""

    def forward(self, latents: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(3)
        return torch.randn(*latents.shape[:2], 64, generator=generator)


def test_predictions_do_not_see_what_is_hidden_and_see_the_rest() -> None:
    method = small()
    latents, n_real, draws = prepared(method, clips([96, 60]))
    method.target_projection = Fixed()  # type: ignore[assignment]
    latents = latents.detach().requires_grad_()
    method.contrast(latents, n_real, draws)[0].backward()
    reached = latents.grad.abs().sum(dim=2) > 0
    real = torch.arange(24) < n_real[:, None]
    assert torch.equal(reached, real & ~draws.masked)


def test_gradient_reaches_every_parameter() -> None:
    method = small()
    method((clips([96, 96, 50, 20]),), torch.arange(4))[0].backward()
    missing = [name for name, p in method.named_parameters() if p.grad is None or not p.grad.any()]
    assert missing == []


def test_targets_are_learned_too() -> None:
    """As in the port: no quantizer, and no stop of the gradient."""
    method = small()
    latents, n_real, draws = prepared(method, clips([96, 60]))
    latents = latents.detach().requires_grad_()
    method.contrast(latents, n_real, draws)[0].backward()
    assert (latents.grad.abs().sum(dim=2) > 0)[draws.masked].all()


@pytest.mark.parametrize("start", [0, 9])
def test_padding_changes_neither_loss_nor_metrics(start: int) -> None:
    method, alone = small().eval(), clips([60, 60], 60)
    padded = torch.full((2, 1, 16, 96), -3.0)
    padded[..., start : start + 60] = alone.log_mel
    beside = View(padded, torch.tensor([[start, start + 60.0]] * 2))
    latents, n_real, draws = prepared(method, alone)
    expected, metrics = method.contrast(latents, n_real, draws)
    wider = torch.zeros(2, 24, dtype=torch.bool)
    wider[:, :15] = draws.masked
    others = method.encoder.latents(*beside)
    loss, found = method.contrast(others, n_real, draws._replace(masked=wider))
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-5)
    for name in METRICS:
        torch.testing.assert_close(found[name], metrics[name], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("lengths", [[3, 96], [5, 8, 12, 96], [1, 2, 3, 4]])
def test_very_short_clips(lengths: list[int]) -> None:
    method = small()
    loss, metrics = method((clips(lengths),), torch.arange(len(lengths)))
    loss.backward()
    assert torch.isfinite(loss)
    assert (loss == 0) == (max(lengths) == 4)  # one latent each: nothing to tell apart
    assert all(torch.isfinite(value) for value in metrics.values())
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in method.parameters())


def test_digital_silence_is_no_success() -> None:
    method, view = small(), clips([96] * 4)
    silent = View(torch.full_like(view.log_mel, -3.0), view.spans)
    loss, metrics = method((silent,), torch.arange(4))
    loss.backward()
    assert loss == 0
    assert metrics["contrastive_accuracy"] == 0
    assert metrics["target_std"] < 1e-3
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in method.parameters())


def test_metrics_are_detached_scalars() -> None:
    _, metrics = small()((clips([96] * 8),), torch.arange(8))
    assert set(metrics) == METRICS
    assert all(value.dim() == 0 and not value.requires_grad for value in metrics.values())
    assert 0.15 < metrics["mask_share"] < 0.4
    assert metrics["target_std"] > 0.5


def test_draws_come_from_the_global_generator_and_repeat_with_it() -> None:
    method, view = small(), clips([96, 70])
    losses = []
    for seed in (4, 4, 5):
        torch.manual_seed(seed)
        losses.append(method((view,), torch.arange(2))[0])
    assert torch.equal(losses[0], losses[1])
    assert not torch.equal(losses[0], losses[2])


def test_state_dict_round_trip_is_exact() -> None:
    method, view = small(dropout=0.1), clips([96, 70, 40])
    other = small(dropout=0.1)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.normal_()
    other.load_state_dict(method.state_dict())
    losses = []
    for one in (method, other):
        torch.manual_seed(7)
        losses.append(one((view,), torch.arange(3))[0])
    assert torch.equal(*losses)
    assert {"mask_vector", "target_projection.weight"} < set(method.state_dict())


def test_bfloat16_autocast() -> None:
    method, view = small(), clips([96, 70, 40, 96])
    losses = []
    for enabled in (False, True):
        torch.manual_seed(0)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            losses.append(method((view,), torch.arange(4))[0])
    assert losses[1].dtype == torch.float32
    torch.testing.assert_close(losses[1], losses[0], rtol=0.05, atol=0.05)
    losses[1].backward()


def contrast_of_rows(latents: Tensor, n_real: Tensor, *draws: Tensor) -> Tensor:
    return small().eval().double().contrast(latents, n_real, Draws(*draws))[0]


def test_two_processes_with_unequal_masked_frames_equal_one() -> None:
    method = small()
    latents, n_real, draws = prepared(method, clips([96, 90, 30, 3]))
    per_process = draws.counted.sum(dim=1).view(2, 2).sum(dim=1)
    assert per_process[0] > 3 * per_process[1] > 0
    latents = latents.detach().double().requires_grad_()
    assert_equals_one_process(contrast_of_rows, latents, n_real, *draws)


def test_a_process_without_a_counted_frame_only_adds_nothing() -> None:
    method = small()
    latents, n_real, draws = prepared(method, clips([96, 90, 4, 3]))
    assert draws.counted[2:].sum() == 0
    latents = latents.detach().double().requires_grad_()
    assert_equals_one_process(contrast_of_rows, latents, n_real, *draws)


@pytest.mark.parametrize(
    ("encoder", "settings", "words"),
    [
        (AudioNTT(d=8, channels=2, n_mels=16), {}, "AudioNTT, ending at 'fc2'.*='conformer'"),
        (Conformer(**TINY, cut="features"), {}, "ending at 'features'.*encoder='conformer'"),
        (Conformer(**TINY), {"crop_frames": 4}, "crop_frames=4 must be at least 8"),
        (Conformer(**TINY), {"mask_prob": 0.0}, "mask_prob=0.0 must be in"),
        (Conformer(**TINY), {"n_distractors": 0}, "n_distractors=0 must be at least 1"),
        (Conformer(**TINY), {"temperature": -1.0}, "temperature=-1.0 must be positive"),
    ],
)
def test_refuses_what_has_no_meaning(encoder: nn.Module, settings: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ConformerWav2vec2(encoder, **settings)


def test_it_is_registered_and_takes_one_view() -> None:
    method = methods.create("conformer", Conformer(**TINY), n_clips=10, crop_frames=144)
    assert (method.n_views, method.n_crops, method.crop_frames) == (1, 1, 144)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(
    ("learning_rate", "steps", "learns"), [(3e-3, 140, True), (0.0, 20, False)]
)
def test_toy(learning_rate: float, steps: int, learns: bool) -> None:
    toy, method = temporal_toy(), small()
    assert probe(method.encoder, toy) <= 0.7
    optimiser = torch.optim.AdamW(method.parameters(), learning_rate)
    metrics: dict[str, Tensor] = {}
    for step in range(steps):
        method.train()
        torch.manual_seed(step)
        clip_ids = torch.randint(len(toy.train), (32,))
        loss, metrics = method((toy.view(toy.train[clip_ids]),), clip_ids)
        optimiser.zero_grad()
        loss.backward()
        for group in optimiser.param_groups:
            group["lr"] = learning_rate * min(1.0, (step + 1) / 30) * (1 - step / steps)
        optimiser.step()
    accuracy = probe(method.encoder, toy)
    assert accuracy >= 0.85 if learns else accuracy <= 0.7
    end = pd.DataFrame([{name: value.item() for name, value in metrics.items()}])
    assert not signs_of_collapse(end, len(clip_ids))
    assert metrics["effective_rank"] > 2
    assert metrics["target_std"] > 0.5
    assert (metrics["contrastive_accuracy"] > 0.4) == learns


def test_a_conformer_can_be_self_distilled_and_cut() -> None:
    """UnFuSeD's students need taps, and embeddings that know the clips' lengths."""
    torch.manual_seed(0)
    encoder, view = Conformer(**TINY), clips([96, 40, 96, 12])
    labels = {"labels": torch.arange(8) % 2, "n_classes": 2}
    method = SelfDistillation(encoder, blocks=("layer1",), **labels)
    method((view,), torch.arange(4))[0].backward()
    student = method.eval().student("layer1")
    torch.testing.assert_close(student(*view), encoder.pooled(*view)["layer1"])
    assert student.dim == 64
