"""Mixup of log-mels in the linear domain: with a bank of past crops, or of labelled crops."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from .settings import MethodViewSettings
from .view import View, union


class Mixing(NamedTuple):
    """Drawn shares of the partners, (B,), and which bank entries these are, (B,) int64."""

    weight: Tensor
    partner: Tensor


def log_mixup_exp(log_mel: Tensor, partner: Tensor, weight: Tensor) -> Tensor:
    """Return ``log((1 - weight) exp(log_mel) + weight exp(partner))``, (B, ...), without overflow.

    Niizumi et al. 2021 (arXiv 2103.06695), eq. 5; ``weight`` is (B,), 0 returns ``log_mel`` itself.
    """
    weight = weight.view(-1, *[1] * (log_mel.ndim - 1))
    return torch.logaddexp(log_mel + torch.log1p(-weight), partner + torch.log(weight))


class LogMixupExp(nn.Module):
    """Background sounds from past crops: BYOL-A's log-mixup-exp (arXiv 2103.06695, section III-B).

    Partners are drawn evenly from the newest unmixed crops, which lie in buffers; while there are
    none crops are returned unmixed. BYOL-A adds every view's input to its bank; here
    :meth:`remember` is called once per batch. Nothing waits for the device.
    """

    bank: Tensor
    clusters: Tensor
    filled: Tensor
    position: Tensor

    def __init__(self, how: MethodViewSettings, n_mels: int, crop_frames: int) -> None:
        super().__init__()
        self.how, bank_size = how, how.mixup_bank
        self.furthest = bank_size
        self.register_buffer("bank", torch.zeros(bank_size, n_mels, crop_frames))
        self.register_buffer("clusters", torch.zeros(bank_size, dtype=torch.int64))
        self.register_buffer("filled", torch.zeros((), dtype=torch.int64))
        self.register_buffer("position", torch.zeros((), dtype=torch.int64))

    def nearest(self, batch: View) -> Tensor:
        """Return the cluster of each un-normalised crop in nats, (B,) int64; here there is one."""
        return torch.zeros(len(batch.spans), dtype=torch.int64, device=batch.spans.device)

    def ranked(self, clusters: Tensor, rank: Tensor) -> Tensor:
        """Return the bank entry at place ``rank`` for crops of these clusters, (B,) int64."""
        return rank

    def draw(self, clusters: Tensor, generator: torch.Generator) -> Mixing:
        """Draw shares and partners for crops of these clusters, (B,); on the bank's device."""
        uniform = torch.rand(2, len(clusters), generator=generator, device=self.bank.device)
        weight = uniform[0] * self.how.mixup_ratio * (self.filled > 0)
        n_candidates = self.filled.clamp(max=self.furthest)
        # Rounding can carry a draw just below 1 up to `n_candidates` itself.
        rank = torch.minimum((uniform[1] * n_candidates).long(), (n_candidates - 1).clamp(min=0))
        return Mixing(weight, self.ranked(clusters, rank))

    def mix(self, view: View, mixing: Mixing) -> View:
        """Return normalised crops, (B, 1, F, T), mixed with the drawn bank entries."""
        partner = self.bank[mixing.partner].unsqueeze(1)
        return View(log_mixup_exp(view.log_mel, partner, mixing.weight), view.spans)

    def forward(self, view: View, clusters: Tensor, generator: torch.Generator) -> View:
        """Draw and mix; see :meth:`mix` and :meth:`draw`."""
        return self.mix(view, self.draw(clusters, generator))

    @torch.no_grad()
    def remember(self, view: View, clusters: Tensor) -> None:
        """Put unmixed normalised crops, (B, 1, F, T), in the place of the oldest ones."""
        size, device = len(self.bank), self.bank.device
        n = min(len(clusters), size)
        slots = (self.position + torch.arange(n, device=device)) % size
        self.bank.index_copy_(0, slots, view.log_mel[-n:].squeeze(1).to(self.bank.dtype))
        self.clusters.index_copy_(0, slots, clusters[-n:])
        self.position.copy_((self.position + n) % size)
        self.filled.copy_((self.filled + n).clamp(max=size))


def draw_mixup(n: int, alpha: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw for each of ``n`` labelled crops the share of a partner, and which crop that is.

    Shares, (n,) in [0, 1], are from Beta(alpha, alpha); partners, (n,) int64, are a permutation of
    the crops. The generator is on the CPU.
    """
    concentration = torch.full((2, n), float(alpha))
    gamma = torch._standard_gamma(concentration, generator=generator)
    partner = torch.randperm(n, generator=generator)
    total = gamma.sum(dim=0)
    # with a tiny alpha both can round to 0: then the crop stays as it is
    return torch.where(total > 0, gamma[0] / total.clamp(min=1e-30), 0.0), partner


def mix_labelled(
    view: View, targets: Tensor, weight: Tensor, partner: Tensor
) -> tuple[View, Tensor]:
    """Mix crops with their partners, and the targets by the same shares.

    Zhang et al. 2018 (arXiv 1710.09412), eq. 1, by :func:`log_mixup_exp`. The real audio of a mixed
    crop is that of both. Targets are the share of each class, (B, K), weights the partner's, (B,).
    """
    log_mel = log_mixup_exp(view.log_mel, view.log_mel[partner], weight)
    mixed = torch.lerp(targets, targets[partner], weight[:, None])
    return View(log_mel, union(view.spans, view.spans[partner])), mixed
