"""Several runs side by side, by the scores on validation clips: what to choose a setting by.

Test scores are left out on purpose. Who chooses among many runs by their test scores reports the
luckiest of them; so choose here, then read the chosen run's report.
"""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from pydantic_core import to_jsonable_python

from ..training.settings import PACE
from .summary import KEY, checked_results

_KIND = [name for name in KEY if name != "fitted_on"]  # whatever it is, validation is the same
_PLACES = (
    *("run_name", "run.fresh", "run.device", "run.expected", "run.processes", "run.tracking"),
    *("fresh", "device", "demo.expected", "extraction", "report"),
    # what is done with a trained model
    *("model", "model_folder", "classify", "label_next", "like", "export", "new_audio"),
)
"""Parameters and groups that name a run or come after it, and do not decide its results."""


def compare_runs(runs: Mapping[str, tuple[pd.DataFrame, Mapping[str, Any]]]) -> pd.DataFrame:
    """Return one row for each run and each of its classifiers, the best of a kind first.

    Returns:
        ``run``, :data:`~unfused.reporting.summary.KEY` but for ``fitted_on``, ``validation`` (mean
        over seeds and folds; NaN where no clips were left to validate on), ``n_seeds``, and one
        column for each parameter that is not the same in all runs.
    """
    differing = different_parameters({name: given for name, (_, given) in runs.items()})
    tables = []
    for name, (results, _) in runs.items():
        once = checked_results(results).drop_duplicates([*_KIND, "seed", "fold"])
        parts = once.groupby(_KIND, sort=False)
        scores = parts.agg(validation=("validation", "mean"), n_seeds=("seed", "nunique"))
        scores = scores.reset_index().assign(**differing[name])
        scores.insert(0, "run", name)
        tables.append(scores)
    order = [True] * len(_KIND) + [False]
    return pd.concat(tables).sort_values(
        [*_KIND, "validation"], ascending=order, kind="stable", ignore_index=True
    )


def different_parameters(runs: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    """Return, for each run, the parameters that are not the same in all of them, by dotted name.

    >>> different_parameters({"a": {"x": {"k": 1, "m": 2}}, "b": {"x": {"k": 3, "m": 2}}})
    {'a': {'x.k': '1'}, 'b': {'x.k': '3'}}
    """
    flat = pd.DataFrame({run: pd.Series(flatten(given), dtype=object).map(str)
                         for run, given in runs.items()}).fillna("")  # fmt: skip
    decide = [name for name in flat.index if _decides(str(name))]
    return flat.loc[decide][flat.loc[decide].nunique(axis=1) > 1].to_dict()


def _decides(name: str) -> bool:
    """Return whether a parameter may decide results.

    >>> [_decides(name) for name in ("extraction.n_jobs", "model", "modelling.x")]
    [False, False, True]
    """
    pace = tuple(f".{ending}" for ending in PACE)
    return not name.endswith(pace) and not any(f"{name}.".startswith(f"{at}.") for at in _PLACES)


def plain(parameters: Any) -> Any:
    """Return parameters, typed or not, as JSON values."""
    return to_jsonable_python(parameters, fallback=str)


def flatten(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return dotted name -> value; lists stay whole, and an empty group is a value.

    >>> flatten({"run": {"seeds": [0, 1], "device": "cpu"}, "select": {}})
    {'run.seeds': [0, 1], 'run.device': 'cpu', 'select': {}}
    """
    flat: dict[str, Any] = {}
    for name, value in plain(parameters).items():
        if isinstance(value, dict) and value:
            flat.update({f"{name}.{inner}": item for inner, item in flatten(value).items()})
        else:
            flat[name] = value
    return flat
