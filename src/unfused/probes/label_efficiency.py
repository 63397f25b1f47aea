"""Label efficiency: the same test clips, scored after learning from few labels and from many.

Few labels are few: no validation label helps to choose a penalty or an epoch. A linear probe
chooses its penalty by folds inside the labels it was given, fine-tuning takes its last epoch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from typing import Any

import numpy as np
import pandas as pd

from ..core.errors import UserError
from ..core.repeats import Repeat
from ..probes.embedding_cache import ClipEmbeddings
from ..probes.results import RowKeys, scored_rows
from ..tasks.label_budgets import LabelBudget, draw_labelled
from ..tasks.task_data import LabelledClips, TaskData
from ..training.precision import pick_device
from .candidates import Candidate
from .fine_tuning import fine_tune
from .frozen_evaluation import FrozenProtocol, checked_parts, fit_probe
from .supervised_evaluation import Plan

COLUMNS = ("encoder", "source", "cut", "protocol", "seed", "fold", "budget", "draw", "n_labels",
           "metric", "value")  # fmt: skip


@dataclass(frozen=True)
class EfficiencySettings:
    """Which budgets are measured, and how often.

    Attributes:
        budgets: Label budgets.
        draws: How many choices of labelled clips for each.
        transductive: Whether encoders may have seen held-out audio, without labels.
        device: Where to fine-tune.
    """

    budgets: Sequence[LabelBudget]
    draws: int
    transductive: bool = False
    device: str = "auto"


def probe_with_few_labels(
    candidate: Candidate,
    embeddings: ClipEmbeddings,
    task: TaskData,
    repeat: Repeat,
    protocol: FrozenProtocol,
    settings: EfficiencySettings,
) -> pd.DataFrame:
    """Score a frozen encoder's probe for every budget and draw, at all its cuts.

    Returns:
        Rows with :data:`COLUMNS`.

    Raises:
        LeakError: The encoder was trained on held-out clips and ``transductive`` is false.
    """
    parts = checked_parts(candidate, task, repeat.fold, transductive=settings.transductive)
    train, test = parts["train"], parts["test"]
    rows = []
    for cut in candidate.cuts:
        x_train, x_test = (embeddings.matrix(cut, part.rows) for part in (train, test))
        keys = RowKeys(candidate.label, candidate.source, cut, protocol, *repeat)
        for budget, draw, chosen in _draws(train, task, repeat, settings):
            labels = train.labels[chosen]
            groups = None if train.groups is None else train.groups[chosen]
            probe = fit_probe(
                protocol, {"train": x_train[chosen]}, {"train": labels}, groups=groups,
                kind=task.kind,
            )  # fmt: skip
            scores = probe.decision_function(x_test)
            rows.append(_rows(keys, budget, draw, len(chosen), test, scores, probe.classes_, task))
    return pd.concat(rows, ignore_index=True)


def train_with_few_labels(
    folder: Path,
    candidate: Candidate,
    plan: Plan,
    task: TaskData,
    repeat: Repeat,
    settings: EfficiencySettings,
) -> pd.DataFrame:
    """Score end-to-end training from an encoder for every budget and draw.

    Args:
        folder: Keeps finished scores and unfinished training.
        candidate: The encoder to start from.
        plan: How to train.
        task: The task.
        repeat: Seed of everything random, fold of the task.
        settings: Budgets and draws.

    Returns:
        Rows with :data:`COLUMNS`.
    """
    parts = checked_parts(candidate, task, repeat.fold, transductive=settings.transductive)
    trained = candidate.load()
    if trained is None:
        raise UserError(f"{candidate.label!r} has no encoder that could be fine-tuned")
    keys = RowKeys(plan.label, plan.source, trained.encoder.cut, "fine_tuning", *repeat)
    train, test, rows = parts["train"], parts["test"], []
    for budget, draw, chosen in _draws(train, task, repeat, settings):
        done = folder / f"{budget}-{draw}.parquet".replace(" ", "_").replace("%", "percent")
        if not done.exists():
            training = folder / "training"
            tuned = fine_tune(
                trained, task.store, train.rows[chosen], train.labels[chosen], [], [],
                plan.settings, folder=training, seed=repeat.seed, device=settings.device,
                kind=task.kind,
                title=f"{plan.label}, task {task.name}, fold {repeat.fold}, seed {repeat.seed}, "
                f"{budget}, draw {draw}",
            )  # fmt: skip
            logits = tuned.logits(task.store, test.rows, device=pick_device(settings.device))
            found = _rows(keys, budget, draw, len(chosen), test, logits, tuned.classes, task)
            found.to_parquet(done.with_suffix(".tmp"))
            done.with_suffix(".tmp").rename(done)
            rmtree(training)
        rows.append(pd.read_parquet(done))
    return pd.concat(rows, ignore_index=True)


def _draws(
    train: LabelledClips, task: TaskData, repeat: Repeat, settings: EfficiencySettings
) -> Any:
    """Yield each budget, the number of each draw and the training clips that keep their label."""
    for budget in settings.budgets:
        everything = budget.share == 1.0
        for draw in range(1 if everything else settings.draws):
            chosen = draw_labelled(
                train.labels, budget, draw=draw, seed=repeat.seed, kind=task.kind
            )
            if len(task.kind.classes(train.labels[chosen])) > 1:
                yield budget, draw, chosen


def _rows(
    keys: RowKeys,
    budget: LabelBudget,
    draw: int,
    n_labels: int,
    test: LabelledClips,
    scores: np.ndarray,
    classes: np.ndarray,
    task: TaskData,
) -> pd.DataFrame:
    results, _ = scored_rows(keys, test.table, scores, classes, task.kind)
    given = results.assign(budget=str(budget), draw=draw, n_labels=n_labels)
    return given[list(COLUMNS)]
