"""Whole methods in two processes: each half of a batch, the loss and gradients of the whole.

In evaluation mode, where batch norm does not see the batch; in training it sees a process's half.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from unfused import encoders, methods
from unfused.core.distributed import rank, world_size
from unfused.views.view import View

from ..losses.two_processes import in_two_processes

SMALL = {
    "byol_a": {"projector_hidden": 16, "projector_dim": 6},
    "selfie": {"projector_hidden": 16, "projector_dim": 6},
    "cola": {"projector_dim": 6},
    "delores_s": {"projector_hidden": 16, "projector_dim": 24},
}


def trained_on_my_share(name: str, clips: tuple[Tensor, Tensor]) -> tuple[Tensor, dict]:
    """Return loss and gradients of a method that sees this process's share of two views."""
    torch.manual_seed(0)
    encoder = encoders.create("audio_ntt", d=16, n_mels=16, channels=4)
    method = methods.create(name, encoder, **SMALL[name]).eval()
    for parameter in method.parameters():
        parameter.data += 0.02 * torch.randn_like(
            parameter
        )  # so that the target is another network
    mine = [view.chunk(world_size())[rank()] for view in clips]
    views = tuple(View(view, torch.tensor([[0.0, 24.0]]).expand(len(view), 2)) for view in mine)
    loss, _ = method(views, torch.arange(len(mine[0])))
    loss.backward()
    named = method.named_parameters()
    return loss.detach(), {key: p.grad for key, p in named if p.grad is not None}


@pytest.mark.parametrize("name", SMALL)
def test_two_processes_equal_one(name: str) -> None:
    clips = torch.randn(2, 8, 1, 16, 24, generator=torch.Generator().manual_seed(0)).unbind()
    loss, gradients = trained_on_my_share(name, clips)
    (first, ones), (second, others) = in_two_processes(trained_on_my_share, name, clips)
    torch.testing.assert_close(first, loss, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(second, first)
    assert len(gradients) > 10
    for key, whole in gradients.items():
        # a bias before batch norm has no gradient but rounding errors
        torch.testing.assert_close((ones[key] + others[key]) / 2, whole, rtol=1e-3, atol=5e-5)
    assert not torch.allclose(ones["encoder.fc1.weight"], others["encoder.fc1.weight"])
