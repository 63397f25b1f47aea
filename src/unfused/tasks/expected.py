"""Public data sets: is all of one there, and which are not there at all."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from ..data.label_sets import label_counts

log = logging.getLogger(__name__)
MISSING_COLUMNS = ("task", "title", "put_it_in", "get", "licence", "clips", "classes")


def warn_of_counts(
    usable: pd.DataFrame, unusable: pd.DataFrame, *, clips: int | None, classes: int | None
) -> list[str]:
    """Say what of a data set is missing, compared with what its makers say.

    Args:
        usable: Its manifest.
        unusable: Its rejected clips.
        clips: How many clips it should list; None: unknown.
        classes: How many classes; None: unknown.

    Returns:
        The warnings.
    """
    labels, corpus = usable["label"].dropna(), usable["corpus"].iloc[0]
    several = "multi_label" in usable and usable["multi_label"].any()
    n_classes = len(label_counts(labels)) if several else labels.nunique()
    found = [("clips", len(usable) + len(unusable), clips), ("classes", n_classes, classes)]
    warnings = [
        f"{corpus}: {number:,} {name}, where its makers count {expected:,}: is the download whole?"
        for name, number, expected in found
        if expected not in (None, number)
    ]
    if len(unusable):
        warnings.append(f"{corpus}: {len(unusable):,} of its clips cannot be used")
    for warning in warnings:
        log.warning("%s", warning)
    return warnings


def missing_tasks(tasks: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Return the public data sets that are configured and not there.

    Args:
        tasks: Name -> entry, as configured, of the tasks that have a ``card``.

    Returns:
        Columns :data:`MISSING_COLUMNS`, one row per absent data set.
    """
    rows = [
        {"task": name, "put_it_in": entry.get("audio"), **entry, **entry["card"]}
        for name, entry in tasks.items()
        if entry.get("card") and not Path(str(entry.get("audio"))).expanduser().is_dir()
    ]
    return pd.DataFrame(rows, columns=list(MISSING_COLUMNS))
