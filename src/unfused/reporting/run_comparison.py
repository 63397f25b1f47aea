"""Several runs side by side, by the scores on validation clips: what to choose a setting by.

Test scores are left out on purpose. Who chooses among many runs by their test scores reports the
luckiest of them; so choose here, then read the chosen run's report.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import pandas as pd

from ..training.settings import PACE
from .flat_parameters import flatten

log = logging.getLogger(__name__)
KEY = ["task", "encoder", "source", "cut", "protocol"]
_PLACES = (
    *("run_name", "run.fresh", "run.device", "run.expected", "run.processes", "run.tracking"),
    *("fresh", "device", "demo.expected", "extraction", "report"),
    *("model", "classify", "export", "new_audio"),  # what is done with a trained model
)
_PACE = tuple(f".{name}" for name in PACE)
"""What names or paces a run, or comes after it, and does not decide its results: :data:`_PLACES`
are parameters and groups, :data:`_PACE` how names end."""


def compare_runs(runs: Mapping[str, tuple[pd.DataFrame, Mapping[str, Any]]]) -> pd.DataFrame:
    """Return one row for each run and each of its classifiers, the best of a kind first.

    Args:
        runs: Name -> result rows (see :data:`unfused.probes.results.RESULT_COLUMNS`) and
            parameters.

    Returns:
        ``run``, :data:`KEY`, ``validation`` (mean over seeds, the folds of a seed weighted by their
        validation clips; NaN where there were none), ``lowest`` and ``highest`` seed, ``n_seeds``,
        and one column for each parameter that is not the same in all runs.
    """
    differing = different_parameters({name: given for name, (_, given) in runs.items()})
    tables = []
    for name, (results, _) in runs.items():
        if "validation" not in results:
            log.warning(
                "run %s has no validation scores, an earlier version made it: run it again with "
                "--params run_name=%s,fresh=true", name, name,
            )  # fmt: skip
            results = results.assign(validation=float("nan"))
        tables.append(_scores(results).assign(run=name, **differing[name]))
    table = pd.concat(tables, ignore_index=True)
    table = table.sort_values(
        [*KEY, "validation"], ascending=[True] * len(KEY) + [False], kind="stable"
    )
    names = [name for name in table if name not in ("run", *KEY)]
    return table[["run", *KEY, *names]].reset_index(drop=True)


def different_parameters(runs: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return, for each run, the parameters that are not the same in all of them, by dotted name.

    >>> different_parameters({"a": {"x": {"k": 1, "m": 2}}, "b": {"x": {"k": 3, "m": 2}}})
    {'a': {'x.k': '1'}, 'b': {'x.k': '3'}}
    """
    flat = {run: flatten(given) for run, given in runs.items()}
    names = dict.fromkeys(name for given in flat.values() for name in given)
    shown = {
        run: {name: str(given[name]) if name in given else "" for name in names}
        for run, given in flat.items()
    }
    differing = [
        name
        for name in names
        if _decides(name) and len({given[name] for given in shown.values()}) > 1
    ]
    return {run: {name: given[name] for name in differing} for run, given in shown.items()}


def _decides(name: str) -> bool:
    """Return whether a parameter may decide results.

    >>> [_decides(name) for name in ("extraction.n_jobs", "model", "modelling.x")]
    [False, False, True]
    """
    return not name.endswith(_PACE) and not any(
        name == place or name.startswith(f"{place}.") for place in _PLACES
    )


def best_students(table: pd.DataFrame) -> list[str]:
    """Return a line for each task: the run whose student is the best on validation.

    Args:
        table: As :func:`compare_runs` returns it.
    """
    students = table[
        (table["encoder"] == "unfused")
        & (table["source"] == "teacher")
        & (table["protocol"] == "linear_probe")
    ].dropna(subset="validation")
    lines = []
    for task, rows in students.groupby("task", sort=False):
        best = rows.loc[rows["validation"].idxmax()]
        lines.append(
            f"{task}: the student of run {best['run']} is the best of {rows['run'].nunique()} on "
            f"validation ({100 * best['validation']:.1f}, {best['n_seeds']} seeds)"
        )
    return lines


def _scores(results: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each classifier of a run."""
    once = results.drop_duplicates([*KEY, "seed", "fold"])
    weight = once["n_valid"].where(once["n_valid"] > 0, once["n_train"])  # no part: inner folds
    weighted = once.assign(score=once["validation"] * weight, weight=weight)
    sums = weighted.groupby([*KEY, "seed"], sort=False)[["score", "weight"]].sum(min_count=1)
    by_seed = (sums["score"] / sums["weight"]).groupby(KEY, sort=False)
    return by_seed.agg(validation="mean", lowest="min", highest="max", n_seeds="size").reset_index()
