"""The report of one run, put together from its tables and figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from ..encoders.origin import git_commit, versions
from .figures import CAPTIONS
from .html_parts import ReportFigure
from .lape_table import lape_table
from .report_html import ReportContent
from .table_formats import to_markdown
from .verdict import verdict

TITLES = {
    "lape_scores": "Scores with intervals",
    "tsne_pseudo_labels": "Pseudo-label clusters",
    "confusion_matrix": "Confusions of the student",
    "learning_curves": "Learning curves",
    "augmentation_views": "Augmentation views",
}
NEXT_COMMANDS = {
    "kedro run --pipeline=unfused --params data=<folder>": "the same on your own audio",
    "kedro run --pipeline=unfused --env=full": "three seeds, controls, every encoder fine-tuned",
    "make viz": "the pipeline, its data and its figures in the browser",
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
    """
    return ReportContent(
        title="UnFuSeD: " + ", ".join(dict.fromkeys(summary["task"])),
        verdict=verdict(summary, comparisons, configurations_tried=configurations_tried),
        tables=[lape_table(summary), lape_table(summary, metric="balanced_accuracy")],
        figures=[
            ReportFigure(TITLES[name], picture, CAPTIONS[name]) for name, picture in figures.items()
        ],
        data_card=data_card,
        rejected=rejected,
        pseudo_labels=quality,
        parameters={name: _plain(value) for name, value in parameters.items()},
        versions=versions(),
        facts={
            "seeds": _plain(parameters["run"])["seeds"],
            "device": _plain(parameters["run"])["device"],
            "code": git_commit() or "not a git checkout",
        },
        next_commands=NEXT_COMMANDS,
    )


def closing_words(content: ReportContent) -> str:
    """Return verdict, table and the next command to try: the last lines of a run."""
    command, why = next(iter(content.next_commands.items()))
    caveats = " ".join(content.verdict.caveats)
    return "\n\n".join(
        [
            to_markdown(content.tables[0]).strip(),
            content.verdict.headline,
            caveats,
            f"Next: {command}   ({why})",
        ]
    )


def _plain(value: Any) -> Any:
    """Return a parameter, typed or not, as JSON values."""
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return value
