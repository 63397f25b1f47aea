from __future__ import annotations

import logging

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from unfused import methods
from unfused.core.distributed import rank, world_size
from unfused.encoders import AudioNTT
from unfused.losses import cluster_contrast, info_nce
from unfused.methods.slicer import SLICER
from unfused.views.view import View

from ..losses.two_processes import in_two_processes
from .conftest import Toy, state, train_on_pairs, two_views

SMALL = {
    "n_clips": 64,
    "queue_size": 24,
    "momentum": 0.9,
    "n_clusters": 6,
    "cluster_hidden": 16,
    "projector_hidden": 16,
    "projector_dim": 8,
}


def small(encoder: AudioNTT | None = None, **settings: object) -> SLICER:
    torch.manual_seed(0)
    encoder = encoder or AudioNTT(d=32, channels=8, n_mels=16, dropout=0.0)
    return SLICER(encoder, **{**SMALL, **settings})


def parts(method: SLICER, views: tuple[View, View]) -> tuple[list[Tensor], list[Tensor], Tensor]:
    """Return student projections, teacher keys and cluster contrast, worked out here."""
    h = [method.encoder(view.log_mel, view.spans) for view in views]
    queries = [method.projector(x) for x in h]
    with torch.no_grad():
        keys = [
            method.teacher_projector(method.teacher_encoder(view.log_mel, view.spans))
            for view in views
        ]
    p = [method.cluster_head(x).softmax(dim=1) for x in h]
    return queries, keys, cluster_contrast(*p, method.cluster_temperature)


@pytest.mark.parametrize(("loss_mix", "share"), [("sum", 1.0), ("mean", 0.5)])
def test_loss_is_both_directions_and_the_clusters(toy: Toy, loss_mix: str, share: float) -> None:
    method = small(loss_mix=loss_mix, cluster_weight=0.25)
    train_on_pairs(method, toy, 4)  # so that teacher and student differ
    views, clip_ids = two_views(toy)
    (q_a, q_b), (k_a, k_b), cluster = parts(method, views)
    queue = method.queue.keys.clone()
    a_to_b, b_to_a = info_nce(q_a, k_b, queue, 0.07), info_nce(q_b, k_a, queue, 0.07)
    loss, metrics = method(views, clip_ids)
    torch.testing.assert_close(loss, share * (a_to_b + b_to_a) + 0.25 * cluster)
    torch.testing.assert_close(metrics["instance_loss"], (share * (a_to_b + b_to_a)).detach())
    torch.testing.assert_close(metrics["cluster_loss"], cluster.detach())
    assert not torch.isclose(a_to_b, info_nce(q_a, k_a, queue, 0.07))


def test_the_queue_stays_as_it_was_until_after_the_step(toy: Toy) -> None:
    method = small()
    train_on_pairs(method, toy, 2)
    before, teacher = method.queue.keys.clone(), state(method.teacher_encoder)
    loss, _ = method(*two_views(toy))
    loss.backward()
    assert torch.equal(method.queue.keys, before)
    assert torch.equal(method.queue.position, torch.tensor(32 % 24))
    weights = state(method.teacher_encoder)
    assert all(torch.equal(weights[k], teacher[k]) for k in teacher if "batches" not in k)
    method.after_step(0)
    assert (method.queue.keys != before).any(dim=1).sum() == 16


@pytest.mark.parametrize(("enqueue", "views_kept"), [("both", [0, 1]), ("one", [1])])
def test_the_teachers_keys_are_enqueued_in_order(
    toy: Toy, enqueue: str, views_kept: list[int]
) -> None:
    method = small(enqueue=enqueue)
    views, clip_ids = two_views(toy)
    _, keys, _ = parts(method, views)
    method(views, clip_ids)
    method.after_step(0)
    expected = F.normalize(torch.cat([keys[i] for i in views_kept]), dim=1)
    torch.testing.assert_close(method.queue.keys[: len(expected)], expected)
    assert method.queue.position.item() == len(expected)


def test_the_keys_of_all_micro_batches_are_enqueued_once(toy: Toy) -> None:
    method = small(queue_size=50)
    before, expected = method.queue.keys.clone(), []
    for first in (0, 8):
        views, clip_ids = two_views(toy, first)
        expected += parts(method, views)[1]
        method(views, clip_ids)
        assert torch.equal(method.queue.keys, before)
    method.after_step(0)
    torch.testing.assert_close(method.queue.keys[:32], F.normalize(torch.cat(expected), dim=1))
    method.after_step(1)
    assert method.queue.position.item() == 32


def test_no_clip_of_the_batch_is_its_own_negative(toy: Toy) -> None:
    """The official code's second pass met the keys of its first: here a repeated batch would."""
    method = small(momentum=1.0)
    views, clip_ids = two_views(toy)
    _, metrics = method(views, clip_ids)
    method.after_step(0)
    first = metrics["instance_loss"]
    _, metrics = method(views, clip_ids)  # the same clips again: now their keys are there
    assert metrics["instance_loss"] > first + 0.5


def test_every_trained_parameter_gets_a_gradient_from_both_views(toy: Toy) -> None:
    method = small()
    views, clip_ids = two_views(toy)
    for view in views:
        view.log_mel.requires_grad_()
    method(views, clip_ids)[0].backward()
    trained = [p for p in method.parameters() if p.requires_grad]
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in trained)
    assert all(view.log_mel.grad.abs().sum() > 0 for view in views)
    n_teacher = len(list(method.teacher_encoder.parameters()))
    n_teacher += len(list(method.teacher_projector.parameters()))
    assert len(list(method.parameters())) == len(trained) + n_teacher


def test_the_cluster_contrast_trains_the_student_and_its_head_only(toy: Toy) -> None:
    method = small()
    loss, _ = method(*two_views(toy))
    both = torch.autograd.grad(loss, [method.cluster_head[0].weight, method.projector[0].weight])
    assert all(gradient.abs().sum() > 0 for gradient in both)
    method = small(cluster_weight=0.0)
    loss, _ = method(*two_views(toy))
    (gradient,) = torch.autograd.grad(loss, [method.cluster_head[0].weight])
    assert gradient.abs().sum() == 0


def test_heads_are_the_posters_or_the_codes() -> None:
    poster = small(projector_layers=1, projector_hidden=20)
    assert poster.projector.widths == [32, 20, 8]
    assert [type(layer).__name__ for layer in poster.projector] == ["Linear", "ReLU", "Linear"]
    code = small(projector_layers=0)
    assert code.projector.widths == [32, 8]
    assert [type(layer).__name__ for layer in code.cluster_head] == ["Linear", "ReLU", "Linear"]
    assert code.cluster_head.widths == [32, 16, 6]


def test_training_lowers_the_loss(toy: Toy) -> None:
    method = small(queue_size=32)
    train_on_pairs(method, toy, 4)  # the queue is full of real keys
    losses = [row["loss"] for row in train_on_pairs(method, toy, 40)]
    assert sum(losses[-8:]) < 0.9 * sum(losses[:8])


def test_metrics_are_detached_scalars(toy: Toy) -> None:
    method = small()
    train_on_pairs(method, toy, 3)
    _, metrics = method(*two_views(toy))
    assert set(metrics) == {
        "loss",
        "instance_loss",
        "instance_accuracy",
        "cluster_loss",
        "cluster_perplexity",
        "queue_similarity",
        "std",
        "effective_rank",
    }
    assert all(value.dim() == 0 and not value.requires_grad for value in metrics.values())
    assert 1.0 <= metrics["cluster_perplexity"] <= 6.0 + 1e-4
    assert 0.0 <= metrics["instance_accuracy"] <= 1.0


def test_metrics_show_a_collapse(toy: Toy) -> None:
    method = small()
    for network in (method.projector, method.teacher_projector, method.cluster_head):
        torch.nn.init.zeros_(network[2].weight)
        network[2].bias.data = torch.arange(float(len(network[2].bias))) * 10
    for step in range(2):
        method(*two_views(toy))
        method.after_step(step)
    _, metrics = method(*two_views(toy))
    assert metrics["queue_similarity"] > 0.6  # 16 of 24 keys
    assert metrics["instance_accuracy"] == 0.0
    assert metrics["cluster_perplexity"] < 1.01


def test_state_dict_round_trip_is_exact(toy: Toy) -> None:
    whole, half = small(), small()
    torch.manual_seed(5)
    train_on_pairs(half, toy, 3)
    whole.load_state_dict(half.state_dict())
    assert {"queue.keys", "queue.position"} < set(half.state_dict())
    losses = []
    for method in (half, whole):
        torch.manual_seed(9)
        losses.append(method(*two_views(toy, 32))[0])
        method.after_step(3)
    assert torch.equal(*losses)
    expected = whole.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in half.state_dict().items())


@pytest.mark.parametrize(("n_clips", "expected"), [(2, 2), (500, 500), (100_000, 65_536)])
def test_default_queue(encoder: AudioNTT, n_clips: int, expected: int) -> None:
    assert len(SLICER(encoder, n_clips=n_clips, projector_dim=2).queue.keys) == expected


@pytest.mark.parametrize(("enqueue", "size", "passes"), [("both", 200, 1.6), ("one", 80, 1.2)])
def test_a_queue_longer_than_the_corpus_is_built_and_explained(
    caplog: pytest.LogCaptureFixture, enqueue: str, size: int, passes: float
) -> None:
    with caplog.at_level(logging.WARNING):
        method = small(queue_size=size, enqueue=enqueue)
    assert len(method.queue.keys) == size
    assert f"queue_size={size} is {passes} passes over the training clips" in caplog.text
    assert "own old keys among their negatives" in caplog.text


def test_a_shorter_queue_is_built_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    small(queue_size=128)
    small(queue_size=None)
    assert not caplog.records


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"queue_size": 0}, "queue of 0 keys"),
        ({"momentum": 1.5}, r"momentum=1.5 must be in \[0, 1\]"),
        ({"temperature": 0.0}, "temperature=0.0 must be positive"),
        ({"cluster_temperature": -1.0}, "cluster_temperature=-1.0 must be positive"),
        ({"n_clusters": 1}, "n_clusters=1 must be at least 2"),
        ({"cluster_weight": -1.0}, "cluster_weight=-1.0"),
        ({"entropy_weight": -0.1}, "entropy_weight=-0.1"),
        ({"loss_mix": "max"}, r"loss_mix='max' is unknown; choose from \['sum', 'mean'\]"),
        ({"enqueue": "none"}, r"enqueue='none' is unknown; choose from \['both', 'one'\]"),
        ({"projector_dim": 0}, "at least 1"),
    ],
)
def test_refuses_what_has_no_meaning(settings: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        small(**settings)


def test_bfloat16_autocast(toy: Toy) -> None:
    method = small()
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
    assert torch.isfinite(method.queue.keys).all()


def test_made_by_name(encoder: AudioNTT) -> None:
    method = methods.create("slicer", encoder, n_clips=30, n_clusters=7, projector_dim=4)
    assert isinstance(method, SLICER)
    assert (method.n_views, method.n_crops, method.crop_frames) == (2, 1, 96)
    assert method.cluster_head.widths[-1] == 7


def one_step(views: list[Tensor]) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
    """Return loss, gradients and state after a step on this process's share of the clips."""
    method = small(n_clips=16, queue_size=20, entropy_weight=0.5)
    method.eval()  # batch norm's statistics are each process's own
    with torch.no_grad():
        method.cluster_head[2].weight.mul_(50.0)  # so that clusters differ from clip to clip
    mine = [view.chunk(world_size())[rank()] for view in views]
    spans = torch.tensor([[0.0, 24.0]]).expand(len(mine[0]), 2)
    loss, _ = method(tuple(View(view, spans) for view in mine), torch.arange(len(mine[0])))
    loss.backward()
    method.after_step(0)
    gradients = {n: p.grad for n, p in method.named_parameters() if p.grad is not None}
    return loss.detach(), gradients, method.state_dict()


def test_two_processes_equal_one() -> None:
    views = list(torch.randn(2, 16, 1, 16, 24))
    loss, gradients, state = one_step(views)
    (loss_0, gradients_0, state_0), (loss_1, gradients_1, state_1) = in_two_processes(
        one_step, views
    )
    torch.testing.assert_close((loss_0 + loss_1) / 2, loss)
    assert gradients
    for name, whole in gradients.items():
        torch.testing.assert_close(
            (gradients_0[name] + gradients_1[name]) / 2, whole, rtol=1e-4, atol=1e-6
        )
    for name in ("queue.keys", "queue.position"):
        assert torch.equal(state_0[name], state_1[name])
        torch.testing.assert_close(state_0[name], state[name])
