from __future__ import annotations

import pytest
import torch
from sklearn.metrics import adjusted_mutual_info_score
from torch import Tensor

from unfused.encoders import AudioNTT
from unfused.losses import prototype_cross_entropy
from unfused.methods.decar import DECAR

from .conftest import Toy, make_toy


def small(encoder: AudioNTT, **settings: object) -> DECAR:
    given = {"n_clips": 64, "n_prototypes": 4, "projector_hidden": 16, "projector_dim": 8}
    return DECAR(encoder, **{**given, **settings})


def train(method: DECAR, toy: Toy, epochs: int) -> tuple[list[float], list[float]]:
    """Return every mean loss, and how well the clusters tell kinds before, between and after."""
    optimiser = torch.optim.AdamW(method.parameters(), 2e-3)
    losses, told = [], []
    for epoch in range(epochs):
        method.start_epoch(epoch, toy.embed, seed=0)
        told.append(adjusted_mutual_info_score(toy.kinds, method.assignments))
        method.train()
        total = []
        for clip_ids in toy.batches(16):
            loss, _ = method((toy.view(clip_ids), toy.view(clip_ids)), clip_ids)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            total.append(loss.item())
        losses.append(sum(total) / len(total))
    method.start_epoch(epochs, toy.embed, seed=0)
    return losses, [*told, adjusted_mutual_info_score(toy.kinds, method.assignments)]


def test_two_epochs_lower_the_loss_and_separate_the_kinds() -> None:
    toy = make_toy(256, noise=1.0, seed=1)
    encoder = AudioNTT(d=32, channels=8, n_mels=16, dropout=0.0)
    method = DECAR(encoder, n_clips=256, n_prototypes=12, projector_hidden=32, projector_dim=16)
    losses, told = train(method, toy, epochs=2)
    assert losses[1] < 0.9 * losses[0]
    assert told[2] > told[0] + 0.1


def test_prototypes_are_centroids_and_get_no_gradient(encoder: AudioNTT, toy: Toy) -> None:
    method = small(encoder)
    method.start_epoch(0, toy.embed, seed=0)
    before = method.prototypes.clone()
    torch.testing.assert_close(before.norm(dim=1), torch.ones(4))
    assert torch.equal(method.assignments, (method.bank @ before.T).argmax(dim=1))
    clip_ids = torch.arange(16)
    loss, _ = method((toy.view(clip_ids), toy.view(clip_ids)), clip_ids)
    loss.backward()
    assert "prototypes" not in dict(method.named_parameters())
    assert not method.prototypes.requires_grad
    assert torch.equal(method.prototypes, before)
    assert all(parameter.grad is not None for parameter in method.parameters())


def test_bank_is_refreshed_for_the_clips_of_the_batch_only(encoder: AudioNTT, toy: Toy) -> None:
    method = small(encoder)
    method.start_epoch(0, toy.embed, seed=0)
    before, clip_ids = method.bank.clone(), torch.tensor([5, 40, 7, 63])
    method((toy.view(clip_ids), toy.view(clip_ids)), clip_ids)
    changed = (method.bank != before).any(dim=1)
    assert changed.nonzero().flatten().tolist() == sorted(clip_ids.tolist())


def test_loss_is_view_b_against_the_assignments(toy: Toy) -> None:
    torch.manual_seed(0)
    method = small(AudioNTT(d=32, channels=8, n_mels=16, dropout=0.0))
    method.start_epoch(0, toy.embed, seed=0)
    clip_ids = torch.arange(16)
    view_a, view_b = toy.view(clip_ids), toy.view(clip_ids)
    z_a, z_b = (
        torch.nn.functional.normalize(method.projector(method.encoder(*view)), dim=1)
        for view in (view_a, view_b)
    )
    assigned = method.assignments[clip_ids]
    expected, _ = prototype_cross_entropy(z_b, method.prototypes, assigned, method.temperature)
    loss, metrics = method((view_a, view_b), clip_ids)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(method.bank[clip_ids], z_a.detach())
    correct = (z_b @ method.prototypes.T).argmax(dim=1) == assigned
    assert metrics["assignment_accuracy"] == correct.float().mean()


def test_view_a_gets_no_gradient(encoder: AudioNTT, toy: Toy) -> None:
    method = small(encoder)
    method.start_epoch(0, toy.embed, seed=0)
    clip_ids = torch.arange(8)
    view_a, view_b = toy.view(clip_ids), toy.view(clip_ids)
    for view in (view_a, view_b):
        view.log_mel.requires_grad_()
    method((view_a, view_b), clip_ids)[0].backward()
    assert view_a.log_mel.grad is None
    assert view_b.log_mel.grad is not None


def test_the_official_codes_variant_keeps_z_as_it_is(encoder: AudioNTT, toy: Toy) -> None:
    method = small(encoder, normalise_z=False, temperature=1.0)
    method.start_epoch(0, toy.embed, seed=0)
    assert method.bank.norm(dim=1).std() > 0.01
    torch.testing.assert_close(method.prototypes.norm(dim=1), torch.ones(4))
    assert torch.equal(method.assignments, (method.bank @ method.prototypes.T).argmax(dim=1))


def test_later_epochs_cluster_the_bank_without_an_embedding_pass(
    encoder: AudioNTT, toy: Toy
) -> None:
    def refuse(function: object) -> Tensor:
        raise AssertionError("the bank is there already")

    method = small(encoder)
    method.start_epoch(0, toy.embed, seed=0)
    first = method.prototypes.clone()
    method.start_epoch(1, refuse, seed=0)
    second = method.prototypes.clone()
    assert not torch.equal(first, second)  # another random start
    method.start_epoch(1, refuse, seed=0)
    assert torch.equal(method.prototypes, second)


def test_state_dict_round_trip_is_exact(encoder: AudioNTT, toy: Toy) -> None:
    method = small(encoder)
    train(method, toy, epochs=1)
    torch.manual_seed(9)
    other = small(AudioNTT(d=32, channels=8, n_mels=16))
    other.load_state_dict(method.state_dict())
    clip_ids = torch.arange(16)
    views = (toy.view(clip_ids), toy.view(clip_ids))
    losses = []
    for one in (method, other):
        one.start_epoch(1, toy.embed, seed=0)
        one.train()
        torch.manual_seed(3)  # dropout
        losses.append(one(views, clip_ids)[0])
    assert torch.equal(*losses)
    expected, state = method.state_dict(), other.state_dict()
    assert {"bank", "assignments", "prototypes"} < set(state)
    assert all(torch.equal(state[key], expected[key]) for key in expected)


def test_metrics_are_detached_scalars(encoder: AudioNTT, toy: Toy) -> None:
    method = small(encoder)
    started = method.start_epoch(0, toy.embed, seed=0)
    assert set(started) == {"cluster_perplexity", "cluster_inertia"}
    clip_ids = torch.arange(16)
    _, metrics = method((toy.view(clip_ids), toy.view(clip_ids)), clip_ids)
    assert set(metrics) == {
        "loss",
        "assignment_accuracy",
        "prototype_perplexity",
        "std",
        "effective_rank",
    }
    assert all(value.dim() == 0 and not value.requires_grad for value in metrics.values())
    assert 1.0 <= metrics["prototype_perplexity"] <= 4.0 + 1e-4


def test_first_embeddings_are_made_in_training_mode_and_bear_a_batch_of_one(
    encoder: AudioNTT, toy: Toy
) -> None:
    method = small(encoder, n_clips=17, n_prototypes=2).eval()
    few = Toy(toy.log_mel[:17], toy.kinds[:17])
    method.start_epoch(0, few.embed, seed=0)  # batches of 16 and 1
    assert torch.isfinite(method.bank).all()
    centre = method.bank[:16].mean(dim=0).norm()
    assert centre < 0.9


@pytest.mark.parametrize(("n_clips", "expected"), [(4, 2), (25, 2), (500, 50), (50_000, 1024)])
def test_default_number_of_prototypes(encoder: AudioNTT, n_clips: int, expected: int) -> None:
    assert DECAR(encoder, n_clips=n_clips, projector_dim=2).n_prototypes == expected


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"n_prototypes": 65}, "n_prototypes=65 .*training clips, 64; set n_prototypes lower"),
        ({"n_prototypes": 1}, "n_prototypes=1 must be at least 2"),
        ({"n_clips": 1, "n_prototypes": None}, "give more unlabelled audio"),
        ({"temperature": 0.0}, "temperature=0.0 must be positive"),
        ({"kmeans_iterations": 0}, "kmeans_iterations=0"),
        ({"projector_dim": 0}, "at least 1"),
    ],
)
def test_refuses_what_has_no_meaning(encoder: AudioNTT, settings: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        small(encoder, **settings)


def test_bfloat16_autocast(encoder: AudioNTT, toy: Toy) -> None:
    method = small(encoder)
    clip_ids = torch.arange(16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        method.start_epoch(0, toy.embed, seed=0)
        loss, _ = method((toy.view(clip_ids), toy.view(clip_ids)), clip_ids)
    loss.backward()
    assert loss.dtype == torch.float32
    assert method.bank.dtype == torch.float32
    assert torch.isfinite(loss)
