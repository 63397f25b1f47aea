"""The LAPE table: encoders down, tasks across, every score with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from .aggregate import scored_by
from .naming import (
    MULTI_LABEL_METRICS,
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


@dataclass(frozen=True)
class LapeTable:
    """One metric of every encoder on every task.

    Attributes:
        metric: Which metric.
        task_metrics: Task -> the metric its cells hold.
        tasks: Task names, left to right.
        rows: ``name, cut, protocol, parameters, dimension`` and one text cell for each task.
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
        fixed = ["Encoder", "Cut", "Protocol", "Parameters", "Dim"]
        return fixed + [self.headings[task] for task in self.tasks]

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
        test clips in training (transductive) are not in the running.

    Raises:
        ValueError: The summary has no row of this metric.
    """
    chosen = scored_by(summary, metric)
    tasks = list(dict.fromkeys(chosen["task"]))
    order = chosen.drop_duplicates(_ROW)
    order = order.iloc[np.argsort(order["protocol"].map(protocol_rank), kind="stable")]
    records, best, numbers = [], [], []
    mark = CLIP_MARK if _kinds(chosen) == _MIXED else ""
    leaders = chosen[~_flag(chosen)].groupby(["protocol", "task"])["mean"].max()
    for _, first in order.iterrows():
        same = chosen[(chosen[_ROW] == first[_ROW]).all(axis=1)]
        cells = {row["task"]: row for _, row in same.iterrows()}
        records.append({**_fixed(first), **{task: _cell(cells.get(task), mark) for task in tasks}})
        best.append({task: _leads(cells.get(task), leaders) for task in tasks})
        sizes = {column: first[column] for column in ("parameters", "dimension")}
        numbers.append({**_fixed(first), **sizes, **_numbers(cells, tasks)})
    published = published_scores(tasks if metric == "accuracy" else [])
    return LapeTable(
        metric=metric,
        task_metrics=chosen.drop_duplicates("task").set_index("task")["metric"].to_dict(),
        tasks=tasks,
        rows=pd.DataFrame(records),
        best=pd.DataFrame(best),
        headings=_headings(chosen),
        notes=_notes(chosen),
        numbers=pd.DataFrame(numbers),
        published=published,
    )


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
        **{"parameters": _whole(row["parameters"]), "dimension": _whole(row["dimension"])},
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


def _leads(row: pd.Series | None, leaders: pd.Series) -> bool:
    if row is None or bool(row.get("transductive") or False):
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
    if _flag(chosen).any():
        notes.append("Transductive rows saw test clips (not labels) in training; never bold.")
    return notes
