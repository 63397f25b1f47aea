from __future__ import annotations

import logging

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unfused import methods
from unfused.core.distributed import rank, world_size
from unfused.encoders import AudioNTT, Conformer
from unfused.losses import barlow_twins, info_nce
from unfused.methods.delores_m import DeLoReSM
from unfused.views.view import View

from ..losses.two_processes import in_two_processes
from .conftest import Toy, make_toy, state, train_on_pairs, two_views

SMALL = {
    "n_clips": 64,
    "queue_size": 24,
    "momentum": 0.9,
    "projector_dim": 8,
    "barlow_hidden": 12,
    "barlow_dim": 10,
}
BLOCKS = ("block1", "block2", "block3")


def plain_encoder(**settings: object) -> AudioNTT:
    torch.manual_seed(0)
    return AudioNTT(d=32, channels=8, n_mels=16, dropout=0.0, **settings)  # type: ignore[arg-type]


def small(encoder: AudioNTT | Conformer | None = None, **settings: object) -> DeLoReSM:
    torch.manual_seed(0)
    return DeLoReSM(encoder or plain_encoder(), **{**SMALL, **settings})  # type: ignore[arg-type]


def test_the_defaults_are_the_official_codes() -> None:
    method = DeLoReSM(AudioNTT(d=2048), n_clips=200_000)
    assert method.projector.widths == [2048, 128]
    assert method.queue.keys.shape == (65_536, 128)
    assert (method.momentum, method.temperature) == (0.999, 0.07)
    assert (method.barlow_weight, method.redundancy_weight) == (5e-5 / 32, 1.0)
    widths = {tap: head.widths for tap, head in method.barlow_projectors.items()}
    assert widths == {
        "block1": [2048, 2048, 2048, 2048],
        "block2": [1024, 2048, 2048, 2048],
        "block3": [512, 2048, 2048, 2048],
    }
    once = [nn.Linear, nn.BatchNorm1d, nn.ReLU]
    head = method.barlow_projectors["block1"]
    assert [type(layer) for layer in head] == [*once, *once, nn.Linear]
    assert all(layer.bias is None for layer in head if isinstance(layer, nn.Linear))
    assert (method.n_views, method.n_crops, method.crop_frames) == (2, 1, 96)


@pytest.mark.parametrize(("barlow", "redundancy"), [(5e-5 / 32, 1.0), (0.1, 0.0051)])
def test_loss_is_one_contrast_and_barlow_twins_of_each_block(
    toy: Toy, barlow: float, redundancy: float
) -> None:
    method = small(barlow_weight=barlow, redundancy_weight=redundancy)
    train_on_pairs(method, toy, 4)  # so that teacher and student differ
    (view_a, view_b), clip_ids = two_views(toy)
    queue = method.queue.keys.clone()
    student = method.encoder.pooled(*view_a)
    teacher = method.teacher_encoder.pooled(*view_b)
    query = method.projector(method.encoder(*view_a))
    key = method.teacher_projector(method.teacher_encoder(*view_b))
    instance = info_nce(query, key, queue, 0.07)
    heads = method.barlow_projectors
    losses = [
        barlow_twins(heads[tap](student[tap]), heads[tap](teacher[tap]), redundancy)
        for tap in BLOCKS
    ]
    blocks = torch.stack(losses).sum()
    loss, metrics = method((view_a, view_b), clip_ids)
    torch.testing.assert_close(loss, instance + barlow * blocks)
    torch.testing.assert_close(metrics["instance_loss"], instance.detach())
    torch.testing.assert_close(metrics["barlow_loss"], blocks.detach())
    swapped, _ = method((view_b, view_a), clip_ids)
    assert not torch.isclose(swapped, loss)  # one direction only


def test_student_and_teacher_pass_once_each(toy: Toy) -> None:
    method = small()
    passes = []
    for name, encoder in (("student", method.encoder), ("teacher", method.teacher_encoder)):
        block = encoder.blocks["block1"]
        block.register_forward_hook(lambda *_, name=name: passes.append(name))
    method(*two_views(toy))
    assert sorted(passes) == ["student", "teacher"]


def test_gradient_reaches_the_student_from_view_a_only_and_every_head(toy: Toy) -> None:
    method = small()
    (view_a, view_b), clip_ids = two_views(toy)
    for view in (view_a, view_b):
        view.log_mel.requires_grad_()
    method((view_a, view_b), clip_ids)[0].backward()
    trained = [p for p in method.parameters() if p.requires_grad]
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in trained)
    assert view_a.log_mel.grad.abs().sum() > 0
    assert view_b.log_mel.grad is None
    n_teacher = len(list(method.teacher_encoder.parameters()))
    n_teacher += len(list(method.teacher_projector.parameters()))
    assert len(list(method.parameters())) == len(trained) + n_teacher


def test_a_blocks_loss_trains_the_encoder_up_to_that_block(toy: Toy) -> None:
    method = small(taps=["block2"], barlow_weight=1.0)
    student = method.encoder.pooled(*two_views(toy)[0][0])
    with torch.no_grad():
        teacher, _ = method.teacher_features(two_views(toy)[0][1])
    loss, _ = method._barlow_loss(student, teacher)
    loss.backward()
    trained = {name for name, p in method.encoder.named_parameters() if p.grad is not None}
    assert {name.split(".")[1] for name in trained} == {"block1", "block2"}


def test_the_taps_projector_is_trained_by_both_sides(toy: Toy) -> None:
    method = small(taps=["block3"])
    views, _ = two_views(toy)
    student = {tap: x.detach() for tap, x in method.encoder.pooled(*views[0]).items()}
    teacher, _ = method.teacher_features(views[1])
    weight = method.barlow_projectors["block3"][0].weight
    both = torch.autograd.grad(method._barlow_loss(student, teacher)[0], weight)[0]
    project = method.barlow_projectors["block3"]
    z_a, z_b = project(student["block3"]), project(teacher["block3"])
    student_only = torch.autograd.grad(barlow_twins(z_a, z_b.detach(), 1.0), weight)[0]
    z_a = project(student["block3"])
    z_b = project(teacher["block3"])
    teacher_only = torch.autograd.grad(barlow_twins(z_a.detach(), z_b, 1.0), weight)[0]
    torch.testing.assert_close(both, student_only + teacher_only, rtol=1e-4, atol=1e-5)
    assert teacher_only.abs().sum() > 0


def test_the_queue_stays_as_it_was_until_after_the_step(toy: Toy) -> None:
    method = small()
    train_on_pairs(method, toy, 2)
    before, teacher = method.queue.keys.clone(), state(method.teacher_encoder)
    views, clip_ids = two_views(toy)
    loss, _ = method(views, clip_ids)
    loss.backward()
    assert torch.equal(method.queue.keys, before)
    weights = state(method.teacher_encoder)
    assert all(torch.equal(weights[k], teacher[k]) for k in teacher if "batches" not in k)
    _, keys = method.teacher_features(views[1])
    method.after_step(0)
    assert method.queue.position.item() == 0  # 3 x 8 keys in a queue of 24
    torch.testing.assert_close(method.queue.keys[16:], F.normalize(keys, dim=1))
    assert torch.equal(method.queue.keys[:16], before[:16])


def test_the_keys_of_all_micro_batches_of_a_step_are_enqueued(toy: Toy) -> None:
    method = small()
    keys = []
    for first in (0, 8):
        views, clip_ids = two_views(toy, first)
        method(views, clip_ids)
        keys.append(method.teacher_features(views[1])[1])
    method.after_step(0)
    torch.testing.assert_close(method.queue.keys[:16], F.normalize(torch.cat(keys), dim=1))
    method.after_step(1)
    assert method.queue.position.item() == 16  # nothing twice


def test_moco_v2s_head_is_a_setting() -> None:
    method = small(projector_layers=1, projector_hidden=20)
    assert [type(layer) for layer in method.projector] == [nn.Linear, nn.ReLU, nn.Linear]
    assert method.projector.widths == [32, 20, 8]


def test_training_lowers_both_losses() -> None:
    toy = make_toy(64, noise=1.0, seed=0)
    method = small(barlow_weight=0.05, redundancy_weight=0.05)
    train_on_pairs(method, toy, 3)  # the queue is full of real keys
    history = train_on_pairs(method, toy, 60)
    for name in ("instance_loss", "barlow_loss"):
        values = [row[name] for row in history]
        assert sum(values[-8:]) < 0.7 * sum(values[:8]), name


def test_metrics_are_detached_scalars(toy: Toy) -> None:
    method = small()
    _, metrics = method(*two_views(toy))
    assert set(metrics) == {
        "loss",
        "instance_loss",
        "instance_accuracy",
        "barlow_loss",
        "correlation",
        "redundancy",
        "queue_similarity",
        "std",
        "effective_rank",
    }
    assert all(value.dim() == 0 and not value.requires_grad for value in metrics.values())


def test_metrics_show_a_collapse(toy: Toy) -> None:
    method = small(queue_size=8)
    for encoder in (method.encoder, method.teacher_encoder):
        for parameter in encoder.parameters():
            nn.init.zeros_(parameter)
        nn.init.ones_(encoder.fc2.bias)
    method(*two_views(toy))
    method.after_step(0)
    _, metrics = method(*two_views(toy))
    assert metrics["queue_similarity"] > 0.99
    assert metrics["instance_accuracy"] == 0.0
    assert (metrics["correlation"], metrics["std"]) == (0.0, 0.0)


def test_state_dict_round_trip_is_exact(toy: Toy) -> None:
    whole, half = small(), small()
    train_on_pairs(half, toy, 3)
    whole.load_state_dict(half.state_dict())
    assert {"queue.keys", "queue.position"} < set(half.state_dict())
    assert train_on_pairs(half, toy, 2)[-1] == train_on_pairs(whole, toy, 2)[-1]
    expected = whole.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in half.state_dict().items())


def test_other_encoders_name_their_own_taps(toy: Toy) -> None:
    conformer = Conformer(n_mels=16, n_layers=2, latent_dim=16, embed_dim=16, n_heads=2, ffn_dim=16)
    words = r"\['block1', 'block2', 'block3'\] of encoder Conformer.*\['features', 'layer1', 'lay"
    with pytest.raises(ValueError, match=words):
        small(conformer)
    method = small(conformer, taps=["features", "layer1"])
    loss, _ = method(*two_views(toy))
    loss.backward()
    assert torch.isfinite(loss)
    assert list(method.barlow_projectors) == ["features", "layer1"]


def test_an_encoder_that_is_cut_has_the_taps_before_the_cut(toy: Toy) -> None:
    method = small(plain_encoder(cut="block3"))
    assert method.projector.widths[0] == 16
    assert torch.isfinite(method(*two_views(toy))[0])
    with pytest.raises(ValueError, match=r"set taps to some of \['block1', 'block2'\]"):
        small(plain_encoder(cut="block2"))


def my_share(clips: tuple[Tensor, Tensor]) -> tuple[Tensor, dict[str, Tensor], Tensor]:
    """Return loss, gradients and next queue of a process that sees its share of two views."""
    method = small(barlow_weight=0.1).eval()  # in training, batch norm sees a process's share
    for parameter in method.parameters():
        parameter.data += 0.02 * torch.randn_like(parameter)  # the teacher is another network
    mine = [view.chunk(world_size())[rank()] for view in clips]
    views = tuple(View(view, torch.tensor([[0.0, 24.0]]).expand(len(view), 2)) for view in mine)
    loss, _ = method(views, torch.arange(len(mine[0])))
    loss.backward()
    gradients = {n: p.grad for n, p in method.named_parameters() if p.grad is not None}
    method.after_step(0)
    return loss.detach(), gradients, method.queue.keys


def test_two_processes_equal_one() -> None:
    clips = torch.randn(2, 8, 1, 16, 24, generator=torch.Generator().manual_seed(0)).unbind()
    loss, gradients, queue = my_share(clips)
    (first, ones, keys), (second, others, other_keys) = in_two_processes(my_share, clips)
    torch.testing.assert_close((first + second) / 2, loss, rtol=1e-4, atol=1e-5)
    for name, whole in gradients.items():
        torch.testing.assert_close((ones[name] + others[name]) / 2, whole, rtol=1e-3, atol=1e-5)
    for process in (keys, other_keys):
        torch.testing.assert_close(process, queue, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(ones["encoder.fc1.weight"], others["encoder.fc1.weight"])


@pytest.mark.parametrize(("n_clips", "expected"), [(2, 1), (500, 250), (200_000, 65_536)])
def test_default_queue(n_clips: int, expected: int) -> None:
    assert len(small(n_clips=n_clips, queue_size=None, projector_dim=2).queue.keys) == expected


def test_a_queue_longer_than_the_corpus_is_built_and_explained(
    caplog: pytest.LogCaptureFixture,
) -> None:
    small(queue_size=64)
    small(queue_size=None)
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        method = small(queue_size=80)
    assert len(method.queue.keys) == 80
    assert "queue_size=80 is 1.2 passes over the training clips" in caplog.text
    assert "set queue_size to 32 or less" in caplog.text


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"queue_size": 0}, "queue of 0 keys"),
        ({"momentum": 1.5}, r"momentum=1.5 must be in \[0, 1\]"),
        ({"temperature": 0.0}, "temperature=0.0 must be positive"),
        ({"barlow_weight": -1.0}, "barlow_weight=-1.0"),
        ({"redundancy_weight": float("nan")}, "redundancy_weight=nan must be 0 or positive"),
        ({"taps": []}, "at least one of its layers"),
        ({"taps": ["block1", "block1"]}, "each named once"),
        ({"taps": "block4"}, r"taps=\['block4'\] of encoder AudioNTT"),
        ({"projector_dim": 0}, "at least 1"),
        ({"barlow_dim": 0}, "at least 1"),
    ],
)
def test_refuses_what_has_no_meaning(settings: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        small(**settings)


def test_bfloat16_autocast(toy: Toy) -> None:
    method = small(barlow_weight=0.1)
    train_on_pairs(method, toy, 3)
    views, clip_ids = two_views(toy)
    exact, _ = method(views, clip_ids)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss, _ = method(views, clip_ids)
    loss.backward()
    method.after_step(0)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, exact, rtol=0.05, atol=0.0)
    assert method.queue.keys.dtype == torch.float32


def test_made_by_name() -> None:
    method = methods.create("delores_m", plain_encoder(), n_clips=30, taps=["fc1"], barlow_dim=4)
    assert isinstance(method, DeLoReSM)
    assert method.taps == ("fc1",)
