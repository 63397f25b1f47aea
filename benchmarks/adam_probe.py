"""A linear layer trained with Adam: the other side of ``bench_linear_probe.py``."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

BATCH, EPOCHS, PATIENCE = 200, 200, 20


class Parts(NamedTuple):
    """Standardised features and class numbers of training, validation and test clips."""

    x: Tensor
    y: Tensor
    x_valid: Tensor
    y_valid: Tensor
    x_test: Tensor
    y_test: Tensor


class Solved(NamedTuple):
    """The convex optimum at one penalty: its objective and its test accuracy."""

    objective: float
    accuracy: float


def evar(parts: Parts, rate: float, strength: float = 0.0, loader: bool = True) -> tuple:
    """Train by EVAR's protocol; return CPU seconds, validation and test accuracy, epochs.

    Args:
        parts: The data.
        rate: Learning rate.
        strength: Penalty on the weights, beside EVAR's weight decay of 1e-8.
        loader: EVAR's DataLoader; False: batches gathered from the tensor, which is faster.
    """
    torch.manual_seed(0)
    begin = time.process_time()
    layer = nn.Linear(parts.x.shape[1], int(parts.y.max()) + 1)
    optimiser = torch.optim.Adam(layer.parameters(), rate, weight_decay=1e-8)
    data = DataLoader(TensorDataset(parts.x, parts.y), batch_size=BATCH, shuffle=True)
    best, since, kept, epochs = 0.0, 0, layer.state_dict(), 0
    while epochs < EPOCHS and since < PATIENCE:
        epochs += 1
        for rows, labels in data if loader else batches(parts, BATCH):
            update(layer, optimiser, rows, labels, strength)
        score, since = accuracy(layer, parts.x_valid, parts.y_valid), since + 1
        if score > best:
            best, since = score, 0
            kept = {key: value.clone() for key, value in layer.state_dict().items()}
    seconds = time.process_time() - begin
    layer.load_state_dict(kept)
    return seconds, best, accuracy(layer, parts.x_test, parts.y_test), epochs


def until_solved(
    parts: Parts, solved: Solved, rate: float, strength: float, batch: int, decay: bool, most: float
) -> dict[str, float]:
    """Train on the penalised objective until it is solved; return CPU seconds, NaN if it never is.

    Looks after each epoch, or 10 full-batch steps; looking is not timed. ``objective``: within 1e-3
    of the optimum's, relatively. ``accuracy``: on test within 0.2 points of the optimum's, from
    then on through the next 5 looks.

    Args:
        parts: The data.
        solved: What to reach.
        rate: Learning rate.
        strength: Penalty.
        batch: Clips in a batch.
        decay: Divide the rate by sqrt(1 + epoch) (full batch: by sqrt(1 + step / 10)).
        most: CPU seconds after which to give up.
    """
    torch.manual_seed(0)
    layer = nn.Linear(parts.x.shape[1], int(parts.y.max()) + 1)
    optimiser = torch.optim.Adam(layer.parameters(), rate)
    spent, near, look = 0.0, [], 0
    found = {"objective": float("nan"), "accuracy": float("nan")}
    while spent < most and any(np.isnan(list(found.values()))):
        begin = time.process_time()
        if decay:
            optimiser.param_groups[0]["lr"] = rate / (1 + look) ** 0.5
        for _ in range(10 if batch >= len(parts.x) else 1):
            for rows, labels in batches(parts, batch):
                update(layer, optimiser, rows, labels, strength)
        spent, look = spent + time.process_time() - begin, look + 1
        if np.isnan(found["objective"]):
            reached = objective(layer, parts, strength) <= 1.001 * solved.objective
            found["objective"] = spent if reached else float("nan")
        if abs(accuracy(layer, parts.x_test, parts.y_test) - solved.accuracy) <= 2e-3 + 1e-9:
            near.append(spent)
        else:
            near = []
        if len(near) == 6 and np.isnan(found["accuracy"]):
            found["accuracy"] = near[0]
    return found


def batches(parts: Parts, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield shuffled batches of the training clips; all of them as they are where they fit."""
    if size >= len(parts.x):
        yield parts.x, parts.y
        return
    for rows in torch.randperm(len(parts.x)).split(size):
        yield parts.x[rows], parts.y[rows]


def update(
    layer: nn.Linear,
    optimiser: torch.optim.Optimizer,
    rows: Tensor,
    labels: Tensor,
    strength: float,
) -> None:
    """Take one step."""
    loss = nn.functional.cross_entropy(layer(rows), labels)
    if strength:
        loss = loss + strength / 2 * layer.weight.square().sum()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()


@torch.inference_mode()
def objective(layer: nn.Linear, parts: Parts, strength: float) -> float:
    """Return mean cross-entropy + strength / 2 * ||W||^2 on the training clips."""
    loss = nn.functional.cross_entropy(layer(parts.x), parts.y)
    return float(loss + strength / 2 * layer.weight.square().sum())


@torch.inference_mode()
def accuracy(layer: nn.Linear, x: Tensor, y: Tensor) -> float:
    """Return the share of clips that are right."""
    return float((layer(x).argmax(1) == y).float().mean())
