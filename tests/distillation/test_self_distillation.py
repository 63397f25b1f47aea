from __future__ import annotations

import pytest
import torch

from unfused.distillation.self_distillation import SelfDistillation
from unfused.encoders import AudioNTT
from unfused.encoders.projector import Projector

from .conftest import Toy, train


@pytest.mark.parametrize("mse_on", ["logits", "features"])
def test_blocks_and_teacher_learn_the_pseudo_labels(
    encoder: AudioNTT, toy: Toy, mse_on: str
) -> None:
    method = SelfDistillation(encoder, labels=toy.kinds, n_classes=4, mse_on=mse_on, hidden=32)
    rows = train(method, toy, epochs=6)
    assert rows[-1]["loss"] < 0.6 * rows[0]["loss"]
    assert rows[-1]["accuracy"] > 0.8
    assert rows[-1]["accuracy_block3"] > 0.8
    assert set(rows[0]) == {
        "loss", "ce", "block_ce", "block_kl", "block_mse",
        "accuracy", "accuracy_block1", "accuracy_block2", "accuracy_block3",
    }  # fmt: skip


def test_loss_is_the_weighted_sum_of_its_parts(encoder: AudioNTT, toy: Toy) -> None:
    method = SelfDistillation(encoder, labels=toy.kinds, n_classes=4, alpha=0.6, beta=0.01)
    clip_ids = torch.arange(16)
    loss, parts = method((toy.view(clip_ids),), clip_ids)
    expected = parts["ce"] + 0.6 * parts["block_ce"] + 0.4 * parts["block_kl"]
    torch.testing.assert_close(loss.detach(), expected + 0.01 * parts["block_mse"])


def test_several_clusterings_have_heads_of_their_own_and_their_losses_are_averaged(
    toy: Toy,
) -> None:
    """With the same clusters twice, the loss is the mean over two draws of the heads."""
    clip_ids, losses = torch.arange(16), []
    for labels, sizes in [(toy.kinds, 4), (torch.stack([toy.kinds, toy.kinds % 2], 1), [4, 2])]:
        torch.manual_seed(0)
        encoder = AudioNTT(d=32, channels=8, n_mels=16, dropout=0.0)
        method = SelfDistillation(encoder, labels=labels, n_classes=sizes)
        torch.manual_seed(1)
        view = toy.view(clip_ids)
        losses.append(method((view,), clip_ids)[0])
    assert [heads["block1"].projector.widths[-1] for heads in method.heads] == [4, 2]
    method.labels, method.classifiers = method.labels[:, 1:], method.classifiers[1:]
    method.heads = method.heads[1:]
    second = method((view,), clip_ids)[0]
    torch.testing.assert_close(losses[1], (losses[0] + second) / 2)
    rows = train(
        SelfDistillation(
            encoder, labels=torch.stack([toy.kinds, toy.kinds % 2], 1), n_classes=[4, 2], hidden=32
        ),
        toy,
        epochs=6,
    )
    assert rows[-1]["accuracy_block3"] > 0.8


def test_heads_of_the_official_code_are_as_wide_as_there_are_clusters() -> None:
    method = SelfDistillation(AudioNTT(d=2048), labels=[0, 1, 6], n_classes=7)
    widths = [head.projector.widths for head in method.heads[0].values()]
    assert widths == [[2048, 7, 7, 7], [1024, 7, 7, 7], [512, 7, 7, 7]]
    assert method.classifiers[0].weight.shape == (7, 2048)
    linear = [layer for layer in method.modules() if isinstance(layer, Projector)]
    assert not any("bias" in name for name, _ in linear[0].named_parameters() if name[0] in "036")


def test_heads_of_the_figure_end_in_the_embeddings_dimension(encoder: AudioNTT) -> None:
    method = SelfDistillation(encoder, labels=[0, 1, 2], n_classes=3, mse_on="features", hidden=5)
    head = method.heads[0]["block2"]
    assert head.projector.widths == [encoder.dims["block2"], 5, 5, 32]
    assert head.classifier.weight.shape == (3, 32)


@pytest.mark.parametrize("mse_on", ["logits", "features"])
def test_detached_teacher_layers_get_the_labels_gradient_only(toy: Toy, mse_on: str) -> None:
    gradients = []
    for alpha, beta in [(0.7, 0.003), (0.1, 3.0)]:
        torch.manual_seed(0)
        encoder = AudioNTT(d=32, channels=8, n_mels=16, dropout=0.0)
        method = SelfDistillation(
            encoder, labels=toy.kinds, n_classes=4, alpha=alpha, beta=beta, mse_on=mse_on
        )
        torch.manual_seed(1)
        method((toy.view(torch.arange(16)),), torch.arange(16))[0].backward()
        assert encoder.fc2 is not None
        gradients.append((encoder.fc2.weight.grad, encoder.blocks["block1"][0].weight.grad))
    (teacher, block), (same_teacher, other_block) = gradients
    torch.testing.assert_close(teacher, same_teacher)
    assert not torch.allclose(block, other_block)


def test_student_is_a_copy_up_to_the_cut(encoder: AudioNTT, toy: Toy) -> None:
    method = SelfDistillation(encoder, labels=toy.kinds, n_classes=4)
    train(method, toy, epochs=1)
    method.eval()
    view = toy.view(torch.arange(4))
    student = method.student()
    assert student.cut == "block3"
    expected = encoder.pooled(view.log_mel, view.spans)["block3"]
    assert torch.equal(student(view.log_mel, view.spans), expected)
    assert method.student(cut="fc1").dim == 32
    assert student.n_parameters < encoder.n_parameters


def test_state_dict_holds_the_labels(encoder: AudioNTT, toy: Toy) -> None:
    method = SelfDistillation(encoder, labels=toy.kinds, n_classes=4)
    assert torch.equal(method.state_dict()["labels"][:, 0], toy.kinds)
    other = SelfDistillation(
        AudioNTT(d=32, channels=8, n_mels=16), labels=torch.zeros(64, dtype=int), n_classes=4
    )
    other.load_state_dict(method.state_dict())
    clip_ids, view = torch.arange(8), toy.view(torch.arange(8))
    losses = []
    for one in (method, other):
        torch.manual_seed(2)
        losses.append(one((view,), clip_ids)[0])
    assert torch.equal(*losses)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"labels": [0, 1, 4]}, "labels run from 0 to 4, but n_classes=4 .*allows 0 to 3"),
        ({"labels": [0, -1]}, "leave unlabelled clips out"),
        ({"labels": [0.0, 1.0]}, "expected one integer"),
        ({"labels": [0, 0], "n_classes": 1}, "n_classes=1 must be at least 2"),
        ({"alpha": 1.2}, "alpha=1.2 must be in"),
        ({"hidden": 0}, "hidden=0"),
        ({"blocks": ("block1", "fc2")}, r"blocks=\['block1', 'fc2'\] must name"),
    ],
)
def test_refuses_what_has_no_meaning(encoder: AudioNTT, settings: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        SelfDistillation(encoder, **{"labels": [0, 1, 2], "n_classes": 4, **settings})


def test_a_truncated_encoder_has_no_teacher(encoder: AudioNTT) -> None:
    with pytest.raises(ValueError, match=r"cut='block3', but its last tap 'fc2' is the teacher"):
        SelfDistillation(encoder.truncated("block3"), labels=[0, 1], n_classes=2)
