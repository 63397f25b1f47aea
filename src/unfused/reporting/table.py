"""The table of results: classifiers down, tasks across, each score with its interval."""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from .findings import best_of, title_of
from .names import UPPER_BOUND, counted, metric_name, protocol_rank
from .published import PUBLISHED_NOTE, published_scores
from .summary import KEY, MEAN, of_classifier, shown
from .words import percent

_SIZES = {"dimension": "Dim", "parameters": "Parameters", "pretraining_clips": "Pre-training clips"}
_LATEX = {sign: f"\\{sign}" for sign in "&%$#_{}"} | {"[": "{[}", "\N{EN DASH}": "--"}
_LATEX |= {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
_MARKDOWN = {sign: f"\\{sign}" for sign in "\\`*_{}<>|"}


@dataclass(frozen=True)
class ScoreTable:
    """Every classifier on every task, as text."""

    cells: pd.DataFrame  # one row per classifier, headings as columns
    chosen: pd.DataFrame  # the same shape: whether a cell is of the task's best one on validation
    notes: list[str]  # what a reader must know, one sentence each
    outside: pd.DataFrame  # licence and pre-training data of encoders from outside, if any
    published: pd.DataFrame  # published scores on the tasks that belong to LAPE, if any


def score_table(summary: pd.DataFrame) -> ScoreTable:
    """Return the table of what :func:`~unfused.reporting.summary.summarise` returned.

    A cell holds accuracy, its interval and balanced accuracy, of tasks with several labels mAP and
    its interval; those fitted again on validation clips stand for the others.
    """
    rows, whose = shown(summary), KEY[1:5]
    tasks = list(dict.fromkeys(rows["task"]))
    best = [best_of(of_task).name for _, of_task in rows.groupby("task")]
    rows = _by_chosen_read_out(rows, best)
    rows = rows.sort_values("protocol", key=lambda names: names.map(protocol_rank), kind="stable")
    headings = {task: _heading(rows[rows["task"] == task]) for task in tasks}
    means = summary[summary["task"] == MEAN].sort_values("fitted_on", ascending=False)
    means = means.drop_duplicates(whose).set_index(whose)
    cells, chosen = [], []
    for key, part in rows.groupby(whose, sort=False):
        first = part.iloc[0]
        row = {"Classifier": title_of(first) + " (transductive)" * bool(first.get("transductive"))}
        row |= dict.fromkeys(headings.values(), "not run")
        row |= {headings[one["task"]]: _cell(summary, one) for _, one in part.iterrows()}
        if len(means):
            row["Mean over tasks"] = _bounded(means.loc[key]) if key in means.index else ""
        cells.append(row | {heading: _whole(first.get(name)) for name, heading in _SIZES.items()})
        chosen.append({headings[task]: place in best for place, task in part["task"].items()})
    table = pd.DataFrame(cells)
    marks = pd.DataFrame(chosen).reindex(columns=table.columns).eq(True)
    return ScoreTable(table, marks, _notes(rows), _outside(rows), published_scores(tasks))


def _by_chosen_read_out(rows: pd.DataFrame, best: list[Hashable]) -> pd.DataFrame:
    """Keep each encoder with the read-out that is best on validation, and the best classifiers."""
    whose = ["encoder", "source", "protocol"]
    scored = rows.fillna({"validation": -1.0}).groupby([*whose, "read_out"], sort=False)
    means = scored["validation"].mean().reset_index()
    kept = means.loc[means.groupby(whose, sort=False)["validation"].idxmax()]
    wanted = pd.concat([kept, rows.loc[best]])[[*whose, "read_out"]].drop_duplicates()
    return rows.reset_index().merge(wanted).set_index("index").sort_index()


def _heading(rows: pd.DataFrame) -> str:
    metric = rows["metric"].iloc[0]
    beside = " / balanced" if metric == "accuracy" else ""
    clips = counted(rows["n_test"], "test clip")
    return f"{rows['task'].iloc[0]}: {metric_name(metric)} [95 %]{beside} ({clips})"


def _bounded(row: pd.Series) -> str:
    bounds = f" [{percent(row['low'])}, {percent(row['high'])}]" if np.isfinite(row["low"]) else ""
    return f"{percent(row['mean'])}{bounds}"


def _cell(summary: pd.DataFrame, row: pd.Series) -> str:
    others = of_classifier(summary, row).set_index("metric")["mean"]
    beside = f" / {percent(others['balanced_accuracy'])}" if "balanced_accuracy" in others else ""
    return _bounded(row) + beside


def _whole(value: Any) -> str:
    return "" if pd.isna(value) else "?" if value < 0 else f"{round(value):,}"


def _notes(rows: pd.DataFrame) -> list[str]:
    chance = rows.drop_duplicates("task")[["task", "chance"]].itertuples(index=False)
    notes = [
        f"Scores in %; {counted(rows['n_seeds'], 'seed')} of pre-training, student and probe.",
        f"Intervals: {'; '.join(dict.fromkeys(rows['interval']))}.",
        "Each encoder by the read-out that is best on validation clips; the CSV has all of them.",
        "Bold: the classifier that is used, chosen on validation clips, whatever its test score.",
        "Always naming the most frequent class (several labels: equal scores for all clips): "
        + ", ".join(f"{task} {percent(value)} %" for task, value in chance) + ".",
    ]  # fmt: skip
    if rows["n_seeds"].max() < 3:
        notes.append("Intervals over clips or groups do not cover another training run.")
    if (rows["fitted_on"] != "train").any():
        notes.append("Probes were fitted again on training and validation clips before the test.")
    if rows["task"].nunique() > 1:
        notes.append("Mean over tasks: its interval is about other clips or seeds, not tasks.")
    if (rows["source"] == UPPER_BOUND).any():
        notes.append("The upper bound was trained on the true labels.")
    if "transductive" in rows and rows["transductive"].eq(True).any():
        notes.append("Transductive rows saw test clips (not labels) in pre-training.")
    return notes


def _outside(rows: pd.DataFrame) -> pd.DataFrame:
    """Return what is known of encoders that were trained elsewhere."""
    known = {"name": "Encoder", "pretraining_data": "Pre-trained on", "licence": "Licence"}
    table = rows.reindex(columns=list(known)).rename(columns=known).drop_duplicates()
    return table.dropna(how="all", subset=["Pre-trained on", "Licence"]).fillna("not stated")


def to_markdown(table: ScoreTable) -> str:
    """Return the table as GitHub Markdown, published scores after it."""
    escaped = _escaped(table.cells, _MARKDOWN)
    cells = escaped.mask(table.chosen.to_numpy(), "**" + escaped + "**")
    lines = ["### Scores", "", *_pipes(cells), "", *(f"- {note}" for note in table.notes)]
    for heading, note, other in (
        ("Encoders from outside", "", table.outside),
        ("Published scores (not measured here)", PUBLISHED_NOTE, table.published),
    ):
        if len(other):
            lines += ["", f"### {heading}", "", *filter(None, [note]), "", *_pipes(other)]
    return "\n".join(lines) + "\n"


def to_latex(table: ScoreTable) -> str:
    """Return the tables for LaTeX with booktabs."""
    escaped = _escaped(table.cells, _LATEX)
    cells = escaped.mask(table.chosen.to_numpy(), r"\textbf{" + escaped + "}")
    parts = [r"% needs \usepackage{booktabs}", cells.to_latex(index=False)]
    parts += [f"% {note}" for note in table.notes]
    if len(table.published):
        published = _escaped(table.published.astype(str), _LATEX)
        parts += [f"% {PUBLISHED_NOTE}", published.to_latex(index=False)]
    return "\n".join(parts) + "\n"


def _escaped(cells: pd.DataFrame, signs: dict[str, str]) -> pd.DataFrame:
    def plain(text: object) -> str:
        return "".join(signs.get(letter, letter) for letter in " ".join(str(text).split()))

    return cells.map(plain).rename(columns=plain)


def _pipes(cells: pd.DataFrame) -> list[str]:
    rows = [list(cells.columns), ["---"] * cells.shape[1], *cells.astype(str).to_numpy().tolist()]
    return [f"| {' | '.join(map(str, row))} |" for row in rows]
