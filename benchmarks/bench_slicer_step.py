"""One SLICER step, against the plain way of writing it: float32, two passes, a copied queue.

    python benchmarks/bench_slicer_step.py --d 2048 --batch 128 --json slicer_step.json

The plain step does what the method's official code does: each direction is a pass of its own that
clones the transposed queue, joins positive and negative logits, allocates new teacher weights, and
enqueues. Views are given. The two take turns and each figure is the best of several repeats; on a
CPU time is the process's CPU time.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench_training_step import FRAMES, seconds_of
from unfused import encoders, methods
from unfused.training.optimisers import create
from unfused.training.precision import autocast, cpu_has_bf16, keep_freed_memory, pick_device
from unfused.views import View

QUEUE, DIM, CLUSTERS = 65536, 128, 128


class PlainEncoder(nn.Module):
    """Convolution, batch norm, ReLU, pooling, in this order; two linear layers; max + mean."""

    def __init__(self, d: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs in (1, 64, 64):
            layers += [nn.Conv2d(inputs, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU()]
            layers.append(nn.MaxPool2d(2, stride=2))
        self.features = nn.Sequential(*layers)
        self.fc = nn.Sequential(
            nn.Linear(512, d), nn.ReLU(), nn.Dropout(0.3), nn.Linear(d, d), nn.ReLU()
        )

    def forward(self, log_mel: Tensor) -> Tensor:
        """Return (B, d)."""
        x = self.fc(self.features(log_mel).permute(0, 3, 2, 1).flatten(2))
        return x.max(dim=1).values + x.mean(dim=1)


class PlainSLICER(nn.Module):
    """The plain step."""

    queue: Tensor

    def __init__(self, d: int, momentum: float = 0.999) -> None:
        super().__init__()
        self.student = nn.ModuleList([PlainEncoder(d), nn.Linear(d, DIM)])
        self.teacher = deepcopy(self.student).requires_grad_(False)
        self.cluster = nn.Sequential(
            nn.Linear(d, 2048), nn.ReLU(), nn.Linear(2048, CLUSTERS), nn.Softmax(dim=1)
        )
        self.register_buffer("queue", F.normalize(torch.randn(DIM, QUEUE), dim=0))
        self.position, self.momentum = 0, momentum

    def direction(self, queries: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
        """Contrast one view of the student with the other of the teacher."""
        h = self.student[0](queries)
        q = F.normalize(self.student[1](h), dim=1)
        with torch.no_grad():
            pairs = zip(self.student.parameters(), self.teacher.parameters(), strict=True)
            for online, slow in pairs:
                slow.data = slow.data * self.momentum + online.data * (1 - self.momentum)
            k = F.normalize(self.teacher[1](self.teacher[0](keys)), dim=1)
        positive = torch.einsum("nc,nc->n", q, k).unsqueeze(-1)
        negative = torch.einsum("nc,ck->nk", q, self.queue.clone().detach())
        logits = torch.cat([positive, negative], dim=1) / 0.07
        loss = F.cross_entropy(logits, torch.zeros(len(q), dtype=torch.long, device=q.device))
        self.queue[:, self.position : self.position + len(k)] = k.T
        self.position = (self.position + len(k)) % QUEUE
        return loss, self.cluster(h)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Return the loss."""
        (a_to_b, p_a), (b_to_a, p_b) = self.direction(a, b), self.direction(b, a)
        columns = torch.cat([p_a.T, p_b.T])
        similarity = F.cosine_similarity(columns[:, None], columns[None], dim=2)
        same = torch.arange(2 * CLUSTERS, device=a.device)
        similarity = similarity.masked_fill(same[:, None] == same, -torch.inf)
        return a_to_b + b_to_a + F.cross_entropy(similarity, same.roll(CLUSTERS))


def plain_step(d: int, a: Tensor, b: Tensor) -> Callable[[], None]:
    """Return a function that does one plain step."""
    method = PlainSLICER(d).to(a.device)
    optimiser = torch.optim.SGD(method.parameters(), 3e-4, momentum=0.9, weight_decay=1e-4)

    def step() -> None:
        loss = method(a, b)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    return step


def our_step(d: int, a: Tensor, b: Tensor, dtype: torch.dtype) -> Callable[[], None]:
    """Return a function that does one step of this project's SLICER with the code's heads."""
    encoder = encoders.create("audio_ntt", d=d)
    method = methods.create("slicer", encoder, n_clips=10**6, projector_layers=0)
    method.to(a.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = create("sgd", method.parameters(), lr=3e-4, weight_decay=1e-4)
    spans = torch.tensor([[0.0, FRAMES]], device=a.device).expand(len(a), 2)
    views, clips = (View(a, spans), View(b, spans)), torch.arange(len(a), device=a.device)

    def step() -> None:
        with autocast(a.device, dtype):
            loss, _ = method(views, clips)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        method.after_step(0)

    return step


def main() -> None:
    """Measure, print a table and write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--d", type=int, default=2048, help="width of AudioNTT")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=4)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = pick_device(options.device)
    if device.type == "cpu":
        keep_freed_memory()  # as the training loop does; both sides profit
    a, b = torch.randn(2, options.batch, 1, 64, FRAMES, device=device)
    steps = {
        "plain, fp32": plain_step(options.d, a, b),
        "ours, fp32": our_step(options.d, a, b, torch.float32),
        "ours, bf16": our_step(options.d, a, b, torch.bfloat16),
    }
    best = dict.fromkeys(steps, float("inf"))
    for _ in range(options.repeats + 1):  # the first one warms up
        for name, step in steps.items():
            best[name] = min(best[name], seconds_of(step, device))
    rates = {name: options.batch / seconds for name, seconds in best.items()}
    print(f"{'step':<14}{'pairs/s':>10}{'ratio':>8}")
    for name, rate in rates.items():
        print(f"{name:<14}{rate:>10.1f}{rate / rates['plain, fp32']:>8.2f}")
    if options.json:
        settings = {**vars(options), "json": str(options.json), "device": str(device)}
        report = {"pairs_per_second": rates, "settings": settings, "cpu_has_bf16": cpu_has_bf16()}
        options.json.write_text(json.dumps(report, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
