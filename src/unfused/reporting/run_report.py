"""The report of one run, put together from its tables and figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from ..encoders.origin import git_commit, versions
from ..training.precision import pick_device, pick_precision
from .figures import CAPTIONS
from .html_parts import ReportFigure
from .lape_table import lape_table
from .next_commands import CLASSIFY, next_commands
from .report_html import ReportContent
from .table_formats import to_plain
from .verdict import verdict

TITLES = {
    "lape_scores": "Scores with intervals",
    "average_ranks": "Average ranks",
    "label_efficiency_curves": "Label efficiency",
    "tsne_pseudo_labels": "Pseudo-label clusters",
    "confusion_matrix": "Confusions of the student",
    "learning_curves": "Learning curves",
    "augmentation_views": "Augmentation views",
    "kmix_pairs": "k-mix pairs",
}


def run_report(
    summary: pd.DataFrame,
    comparisons: pd.DataFrame,
    figures: Mapping[str, bytes],
    *,
    quality: pd.DataFrame,
    data_card: pd.DataFrame,
    rejected: pd.DataFrame,
    parameters: Mapping[str, Any],
    configurations_tried: int | None,
    cluster_players: str = "",
) -> ReportContent:
    """Return the content of the report.

    Args:
        summary: Scores; see :func:`~unfused.reporting.aggregate.summarise`.
        comparisons: See :func:`~unfused.reporting.comparisons.student_comparisons`.
        figures: Name -> PNG.
        quality: One row per clustering.
        data_card: One row per corpus and fold.
        rejected: One row per rejected file.
        parameters: The resolved parameters.
        configurations_tried: How many settings were compared on validation data.
        cluster_players: Section to listen to the clusters, as HTML.
    """
    plain = {name: _plain(value) for name, value in parameters.items()}
    return ReportContent(
        title="UnFuSeD: " + ", ".join(_title(task, plain) for task in summary["task"].unique()),
        verdict=verdict(summary, comparisons, configurations_tried=configurations_tried),
        tables=[lape_table(summary), lape_table(summary, metric="balanced_accuracy")],
        figures=[
            ReportFigure(TITLES[name], picture, CAPTIONS[name]) for name, picture in figures.items()
        ],
        data_card=data_card,
        rejected=rejected,
        pseudo_labels=quality,
        cluster_players=cluster_players,
        parameters=plain,
        versions=versions(),
        facts=_facts(plain),
        next_commands=next_commands(plain),
    )


def closing_words(content: ReportContent) -> str:
    """Return verdict, table and the next commands to try: the last lines of a run."""
    first, *others = content.next_commands.items()
    chosen = [first, *(item for item in others if item[0].endswith(CLASSIFY))]
    following = [f"{command}   ({why})" for command, why in chosen]
    caveats = " ".join(content.verdict.caveats)
    return "\n\n".join(
        [
            to_plain(content.tables[0]).strip(),
            content.verdict.headline,
            caveats,
            "Next: " + "\nOr: ".join(following),
        ]
    )


def _title(task: str, parameters: Mapping[str, Any]) -> str:
    entry = (parameters.get("tasks") or {}).get(task) or {}
    return entry.get("title") or task


def _facts(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the parameters leave open or hide: the device and precision really used."""
    run, tasks = parameters["run"], parameters.get("tasks") or {}
    device = pick_device(run["device"])
    teacher = (parameters.get("methods") or {}).get(parameters.get("teacher")) or {}
    precision = (teacher.get("training") or {}).get("precision", "auto")
    audio = (tasks.get("own_data") or {}).get("audio")
    return {
        **({"audio": ", ".join([audio] if isinstance(audio, str) else audio)} if audio else {}),
        "seeds": ", ".join(map(str, run["seeds"])),
        "device": str(device),
        "precision": str(pick_precision(precision, device)).removeprefix("torch."),
        "code": git_commit() or "not a git checkout",
    }


def _plain(value: Any) -> Any:
    """Return a parameter, typed or not, as JSON values."""
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return value
