"""The LAPE table: encoders down, tasks across, every score with its interval."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from .aggregate import scored_by
from .naming import (
    MULTI_LABEL_METRICS,
    UPPER_BOUND,
    cut_name,
    metric_name,
    percent,
    protocol_name,
    protocol_rank,
)
from .published import published_scores

PUBLISHED_NOTE = (
    "Published scores: linear evaluation after pre-training on 10 % of AudioSet and FSD50K, by the "
    "authors named, with other data, other sizes and no intervals. They are not comparable with "
    "the measured ones row by row."
)
CLIP_MARK = "\N{DAGGER}"
_OVER_SEEDS, _OVER_CLIPS = "t over", "bootstrap"
_MIXED = {_OVER_SEEDS, _OVER_CLIPS}
_ROW = ["encoder", "source", "cut", "protocol"]
FIXED = ("name", "cut", "protocol", "parameters", "dimension", "pretraining_clips")
OVERALL = ("mean over tasks", "average rank")
_FIXED_HEADINGS = ["Encoder", "Cut", "Protocol", "Parameters", "Dim", "Pre-training clips"]


@dataclass(frozen=True)
class LapeTable:
    """One metric of every encoder on every task.

    Attributes:
        metric: Which metric.
        task_metrics: Task -> the metric its cells hold.
        tasks: Task names, left to right.
        rows: :data:`FIXED`, one text cell for each task and, of several tasks, :data:`OVERALL`.
        best: The same shape as the task columns: whether a cell is the best of its protocol.
        headings: Column heading of each task, with its number of test clips.
        notes: What a reader must know, one sentence each.
        numbers: The same table as plain numbers (per cent), for CSV.
        published: Published scores on the LAPE tasks among ``tasks``; may be empty.
    """

    metric: str
    task_metrics: dict[str, str]
    tasks: Sequence[str]
    rows: pd.DataFrame
    best: pd.DataFrame
    headings: dict[str, str]
    notes: Sequence[str]
    numbers: pd.DataFrame
    published: pd.DataFrame

    @property
    def columns(self) -> list[str]:
        """Headings of all columns, left to right."""
        overall = [name[0].upper() + name[1:] for name in self.overall]
        return [*_FIXED_HEADINGS, *(self.headings[task] for task in self.tasks), *overall]

    @property
    def overall(self) -> Sequence[str]:
        """Columns over all tasks; none where there is one task."""
        return OVERALL if len(self.tasks) > 1 else ()

    @property
    def title(self) -> str:
        """What the cells hold."""
        several = MULTI_LABEL_METRICS.get(self.metric)
        ranked = {several} & set(self.task_metrics.values()) - {self.metric}
        also = f" (multi-label tasks: {metric_name(str(several))})" if ranked else ""
        return f"{metric_name(self.metric)}{also} in %, with 95 % intervals"


def lape_table(summary: pd.DataFrame, *, metric: str = "accuracy") -> LapeTable:
    """Return the table of one metric.

    Args:
        summary: Rows of :func:`~unfused.reporting.aggregate.summarise`.
        metric: Which metric to show; of multi-label tasks, what takes its place.

    Returns:
        The table. The best mean of each task within a protocol is marked, ties all; rows that saw
        test clips in training (transductive) and the upper bound are not in the running.

    Raises:
        ValueError: The summary has no row of this metric.
    """
    chosen = scored_by(summary, metric)
    tasks = list(dict.fromkeys(chosen["task"]))
    order = chosen.drop_duplicates(_ROW)
    order = order.iloc[np.argsort(order["protocol"].map(protocol_rank), kind="stable")]
    records, best, numbers = [], [], []
    mark = CLIP_MARK if _kinds(chosen) == _MIXED else ""
    leaders = chosen[~_apart(chosen)].groupby(["protocol", "task"])["mean"].max()
    for _, first in order.iterrows():
        same = chosen[(chosen[_ROW] == first[_ROW]).all(axis=1)]
        cells = {row["task"]: row for _, row in same.iterrows()}
        records.append({**_fixed(first), **{task: _cell(cells.get(task), mark) for task in tasks}})
        best.append({task: _leads(cells.get(task), leaders) for task in tasks})
        sizes = {column: first.get(column) for column in FIXED[3:]}
        numbers.append({**_fixed(first), **sizes, **_numbers(cells, tasks)})
    overall = _overall(chosen, order, tasks) if len(tasks) > 1 else pd.DataFrame()
    texts = {name: overall[name].map(plain) for name, plain in _plain_overall(overall).items()}
    published = published_scores(tasks if metric == "accuracy" else [])
    return LapeTable(
        metric=metric,
        task_metrics=chosen.drop_duplicates("task").set_index("task")["metric"].to_dict(),
        tasks=tasks,
        rows=pd.DataFrame(records).assign(**texts),
        best=pd.DataFrame(best),
        headings=_headings(chosen),
        notes=_notes(chosen),
        numbers=pd.concat([pd.DataFrame(numbers), overall], axis=1),
        published=published,
    )


def _overall(chosen: pd.DataFrame, order: pd.DataFrame, tasks: Sequence[str]) -> pd.DataFrame:
    """Return mean (per cent) and average rank of each row; NaN where it lacks a task.

    Ranks are among the rows of a protocol that have every task; transductive ones are left out.
    """
    fair = chosen[~_apart(chosen)]
    means = fair.set_index([*_ROW, "task"])["mean"].unstack("task").reindex(columns=list(tasks))
    means = means.reindex(pd.MultiIndex.from_frame(order[_ROW]))
    known, protocols = means.notna().all(axis=1).to_numpy(), order["protocol"].to_numpy()
    ranks = np.full(len(means), np.nan)
    for protocol in pd.unique(protocols):
        rows = known & (protocols == protocol)
        if rows.any():
            ranks[rows] = rankdata(-means.to_numpy()[rows].round(6), axis=0).mean(axis=1)
    scores = np.where(known, 100 * means.mean(axis=1).to_numpy(), np.nan)
    return pd.DataFrame({OVERALL[0]: scores.round(2), OVERALL[1]: ranks.round(3)})


def _plain_overall(overall: pd.DataFrame) -> dict[str, Callable[[float], str]]:
    def with_digits(digits: int) -> Callable[[float], str]:
        return lambda value: f"{value:.{digits}f}" if np.isfinite(value) else ""

    return {
        name: with_digits(digits)
        for name, digits in zip(OVERALL, (1, 2), strict=True)
        if name in overall
    }


def _flag(rows: pd.DataFrame) -> pd.Series:
    flags = [value is not None and bool(value) for value in rows.get("transductive", [])]
    return pd.Series(flags or False, index=rows.index)


def _fixed(row: pd.Series) -> dict[str, object]:
    embedding = row.get("embedding")
    remarks = [] if embedding in (None, "", "whole_clip") else [str(embedding)]
    remarks += ["transductive"] if row.get("transductive") else []
    name = row["name"] + (f" ({', '.join(remarks)})" if remarks else "")
    return {
        **{"name": name, "cut": cut_name(row["cut"]), "protocol": protocol_name(row["protocol"])},
        **{column: _whole(row.get(column)) for column in FIXED[3:]},
    }


def _whole(value: object) -> str:
    number = pd.to_numeric(pd.Series([value]), errors="coerce").iloc[0]
    return "" if pd.isna(number) else f"{int(number):,}"


def _kinds(chosen: pd.DataFrame) -> set[str]:
    """Return which kinds of interval there are."""
    kinds = chosen["interval"].astype(str)
    return {kind for kind in _MIXED if kinds.str.startswith(kind).any()}


def _cell(row: pd.Series | None, mark: str) -> str:
    """Return mean, interval and seeds; ``mark`` tells a bootstrap over clips."""
    if row is None:
        return "not run"
    bounds = f" [{percent(row['low'])}, {percent(row['high'])}]" if np.isfinite(row["low"]) else ""
    marked = mark if bounds and str(row["interval"]).startswith(_OVER_CLIPS) else ""
    return f"{percent(row['mean'])}{bounds}{marked} n={row['n_seeds']}"


def _apart(chosen: pd.DataFrame) -> pd.Series:
    """Return which rows saw what the others may not: held-out audio, or labels."""
    return _flag(chosen) | (chosen["source"] == UPPER_BOUND)


def _leads(row: pd.Series | None, leaders: pd.Series) -> bool:
    if row is None or bool(_apart(row.to_frame().T).item()):
        return False
    # one kind of rounding for both: pandas and Python round 0.6625 differently
    return round(float(row["mean"]), 3) == round(float(leaders[row["protocol"], row["task"]]), 3)


def _numbers(cells: dict[str, pd.Series], tasks: Sequence[str]) -> dict[str, object]:
    columns = ("mean", "low", "high", "seed_low", "seed_high", "clip_low", "clip_high")
    numbers: dict[str, object] = {}
    for task in tasks:
        row = cells.get(task)
        for column in columns:
            numbers[f"{task} {column}"] = None if row is None else round(100 * row[column], 2)
        for column in ("interval", "n_seeds", "n_test"):
            numbers[f"{task} {column}"] = None if row is None else row[column]
    return numbers


def _headings(chosen: pd.DataFrame) -> dict[str, str]:
    headings = {}
    for task, rows in chosen.groupby("task"):
        low, high = int(rows["n_test"].min()), int(rows["n_test"].max())
        clips = f"{low:,}" if low == high else f"{low:,} to {high:,}"
        headings[str(task)] = f"{task} ({clips} test clips)"
    return headings


def _notes(chosen: pd.DataFrame) -> list[str]:
    notes = ["n is the number of seeds; a seed repeats pre-training, clustering and student."]
    kinds = _kinds(chosen)
    if _OVER_SEEDS in kinds:
        which = f"Intervals without {CLIP_MARK}" if kinds == _MIXED else "Intervals"
        notes.append(f"{which} are Student's t over seeds (n of 3 or more).")
    if _OVER_CLIPS in kinds:
        which = f"Intervals with {CLIP_MARK}" if kinds == _MIXED else "Intervals"
        grouped = " (over groups such as speakers where they are known)"
        words = grouped if chosen["interval"].astype(str).str.contains("grouped").any() else ""
        notes.append(
            f"{which} are a bootstrap over test clips{words}, as n is below 3 or nothing depends "
            "on the seed: they do not cover another training run."
        )
    for task, rows in chosen.dropna(subset=["chance"]).groupby("task"):
        what = "Always answering the most frequent class of"
        if rows["metric"].iloc[0] in MULTI_LABEL_METRICS.values():
            what = "Giving all clips the same scores on"
        notes.append(f"{what} {task}: {percent(rows['chance'].iloc[0])} %.")
    notes.append("Bold: highest mean within its protocol, whether or not the intervals overlap.")
    notes.append(
        "Pre-training clips: how many the encoder was trained on without labels (mean over seeds "
        "and folds); an untrained one has 0."
    )
    if chosen["task"].nunique() > 1:
        notes.append(
            "Mean over tasks and average rank (1 is best) are of the rows that have every task, "
            "ranked within their protocol."
        )
    if (chosen["source"] == UPPER_BOUND).any():
        notes.append("The upper bound was trained on true labels; never bold, and without a rank.")
    if _flag(chosen).any():
        notes.append("Transductive rows saw test clips (not labels) in training; never bold.")
    return notes
