from __future__ import annotations

import pytest
import torch

from unfused.encoders import AudioNTT
from unfused.methods.supervised import Supervised
from unfused.views.mixup import draw_mixup, mix_labelled

from .conftest import Toy, train


@pytest.mark.parametrize("cut", ["block3", "fc2"])
def test_learns_the_kinds(encoder: AudioNTT, toy: Toy, cut: str) -> None:
    method = Supervised(encoder.truncated(cut), labels=toy.kinds, n_classes=4)
    train(method, toy, epochs=6)
    predicted = method.eval().logits(toy.view(torch.arange(64))).argmax(dim=1)
    assert (predicted == toy.kinds).float().mean() > 0.9


def test_loss_is_cross_entropy_with_smoothed_targets(encoder: AudioNTT, toy: Toy) -> None:
    method = Supervised(encoder, labels=toy.kinds, n_classes=4, label_smoothing=0.2).eval()
    clip_ids = torch.tensor([3, 9, 20])
    view = toy.view(clip_ids)
    log_p = method.logits(view).log_softmax(dim=1)
    target = torch.full((3, 4), 0.05)
    target[torch.arange(3), toy.kinds[clip_ids]] += 0.8
    loss, metrics = method((view,), clip_ids)
    torch.testing.assert_close(loss, -(target * log_p).sum(dim=1).mean())
    assert metrics["accuracy"] == (log_p.argmax(dim=1) == toy.kinds[clip_ids]).float().mean()


def test_head_may_start_from_a_probe(encoder: AudioNTT, toy: Toy) -> None:
    weight, bias = torch.randn(4, 32), torch.randn(4)
    method = Supervised(encoder, labels=toy.kinds, n_classes=4, head=(weight, bias)).eval()
    view = toy.view(torch.arange(5))
    expected = encoder(view.log_mel, view.spans) @ weight.T + bias
    torch.testing.assert_close(method.logits(view), expected)
    weight.zero_()
    assert method.classifier.weight.abs().sum() > 0


def test_dropout_acts_in_training_only(encoder: AudioNTT, toy: Toy) -> None:
    method = Supervised(encoder.truncated("block3"), labels=toy.kinds, n_classes=4, dropout=0.5)
    view = toy.view(torch.arange(5))
    assert not torch.equal(method.logits(view), method.logits(view))
    method.eval()
    assert torch.equal(method.logits(view), method.logits(view))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"dropout": 1.0}, "dropout=1.0"),
        ({"label_smoothing": -0.1}, "label_smoothing=-0.1"),
        ({"labels": [0, 9]}, "n_classes=2.* allows 0 to 1"),
        ({"labels": []}, "expected one integer"),
        ({"head": (torch.ones(3, 32), torch.ones(3))}, r"head has shapes \(3, 32\).*\(2, 32\)"),
    ],
)
def test_refuses_what_has_no_meaning(encoder: AudioNTT, settings: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Supervised(encoder, **{"labels": [0, 1], "n_classes": 2, **settings})


def test_mixup_is_the_loss_on_both_labels_by_their_shares(encoder: AudioNTT, toy: Toy) -> None:
    method = Supervised(encoder, labels=toy.kinds, n_classes=4, mixup_alpha=0.5)
    clip_ids = torch.tensor([3, 9, 20, 31])
    view, kinds = toy.view(clip_ids), toy.kinds[clip_ids]
    torch.manual_seed(1)
    loss, metrics = method((view,), clip_ids)
    torch.manual_seed(1)
    weight, partner = draw_mixup(4, 0.5, torch.default_generator)
    mixed, _ = mix_labelled(view, torch.zeros(4, 1), weight, partner)
    log_p = method.logits(mixed).log_softmax(dim=1)
    losses = [-log_p[i, k] for i, k in enumerate(kinds)]
    other = [-log_p[i, k] for i, k in enumerate(kinds[partner])]
    expected = sum((1 - w) * a + w * b for w, a, b in zip(weight, losses, other, strict=True)) / 4
    torch.testing.assert_close(loss, expected)
    truth = torch.where(weight < 0.5, kinds, kinds[partner])
    assert metrics["accuracy"] == (log_p.argmax(dim=1) == truth).float().mean()


def test_mixup_acts_in_training_only_and_on_several_labels(encoder: AudioNTT, toy: Toy) -> None:
    several = torch.nn.functional.one_hot(toy.kinds, 4).float()
    method = Supervised(encoder, labels=several, n_classes=4, mixup_alpha=1.0).eval()
    plain = Supervised(encoder, labels=several, n_classes=4).eval()
    plain.load_state_dict(method.state_dict())
    clip_ids = torch.arange(8)
    views = (toy.view(clip_ids),)
    assert method(views, clip_ids)[0] == plain(views, clip_ids)[0]
    loss, _ = method.train()(views, clip_ids)
    loss.backward()
    assert loss.isfinite()
    assert loss != plain.train()(views, clip_ids)[0]
    with pytest.raises(ValueError, match="mixup_alpha=-1"):
        Supervised(encoder, labels=toy.kinds, n_classes=4, mixup_alpha=-1)
