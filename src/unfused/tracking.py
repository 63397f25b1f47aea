"""MLflow, where ``run.tracking: mlflow`` asks for it: each run becomes one of MLflow's.

Everything is logged when the pipeline has ended, from the files that it left; so nothing waits for
a server while encoders train, and a run that was stopped leaves no half-filled entry.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.pipeline import Pipeline

from .config import ProjectConfigLoader
from .mlflow_store import Logged, MLflowStore

LONGEST_NAME, LONGEST_VALUE = 250, 6000  # characters that MLflow takes
_NOT_IN_NAMES = re.compile(r"[^/\w.\- ]")


class TrackingHooks:
    """Log finished and failed runs; without ``run.tracking`` do nothing and import nothing."""

    def __init__(self) -> None:
        self._mlflow: MLflowStore | None = None
        self._began = 0

    @hook_impl
    def before_pipeline_run(self, catalog: Any) -> None:
        """Reach the store before any work is done."""
        self._mlflow, self._began = None, time.time_ns() // 1_000_000
        if _tracking(catalog) == "mlflow":
            self._mlflow = MLflowStore(
                Path(ProjectConfigLoader.current()["globals"]["shared_root"])
            )

    @hook_impl
    def after_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: Any
    ) -> None:
        """Log what the run was given and what it made."""
        if self._mlflow is not None:
            made = Logged(
                parameters=parameters_of(_given(pipeline, catalog)),
                artifacts=list(artifacts_of(pipeline, catalog)),
                tags=tags_of(run_params),
            )
            if "summary" in pipeline.all_outputs():
                made.metrics = metrics_of(catalog.load("summary"))
            self._mlflow.add(_name(run_params), made, self._began, "FINISHED")

    @hook_impl
    def on_pipeline_error(
        self, error: Exception, run_params: dict[str, Any], pipeline: Pipeline, catalog: Any
    ) -> None:
        """Log what a failed run was given, and why it failed."""
        if self._mlflow is not None:
            tags = {**tags_of(run_params), "error": f"{type(error).__name__}: {error}"[:5000]}
            made = Logged(parameters=parameters_of(_given(pipeline, catalog)), tags=tags)
            self._mlflow.add(_name(run_params), made, self._began, "FAILED")


def parameters_of(given: Mapping[str, Any]) -> dict[str, str]:
    """Return parameters with dotted names, defaults of the models included.

    Args:
        given: Name -> value; of a group that is also there in parts (``tasks`` beside
            ``tasks.birds``) only the parts are taken.
    """
    from .reporting.flat_parameters import flatten

    wholes = [name for name in given if any(other.startswith(f"{name}.") for other in given)]
    parts = {name: value for name, value in given.items() if name not in wholes}
    flat = {_NOT_IN_NAMES.sub("_", name): str(value) for name, value in flatten(parts).items()}
    return {name[:LONGEST_NAME]: value[:LONGEST_VALUE] for name, value in flat.items()}


def metrics_of(summary: Any) -> dict[str, float]:
    """Return ``<task>/<encoder>/<cut>/<protocol>/<metric>`` -> score, and its interval.

    Args:
        summary: See :func:`unfused.reporting.aggregate.summarise`. An encoder's controls go by
            ``<encoder>-<source>``.
    """
    metrics: dict[str, float] = {}
    for row in summary.to_dict("records"):
        encoder = f"{row['encoder']}-{row['source']}" if row["source"] else row["encoder"]
        parts = [row["task"], encoder, row["cut"] or "whole", row["protocol"], row["metric"]]
        name = "/".join(_NOT_IN_NAMES.sub("_", str(part).replace("/", "_")) for part in parts)
        values = {name: row["mean"], f"{name}.low": row["low"], f"{name}.high": row["high"]}
        metrics.update({key: float(item) for key, item in values.items() if math.isfinite(item)})
    return metrics


def artifacts_of(pipeline: Pipeline, catalog: Any) -> Iterator[tuple[Path, str]]:
    """Yield the files of the reporting layer, the results and the encoders that a run has made."""
    from .datasets.folders import EncodersDataset

    for name in sorted(pipeline.all_outputs()):
        dataset = catalog.get(name)
        layer = (getattr(dataset, "metadata", None) or {}).get("kedro-viz", {}).get("layer")
        if isinstance(dataset, EncodersDataset):
            collection = dataset.load()
            for encoder in collection.names():
                folder = collection.folder(encoder)
                for file in sorted(folder.glob("encoder.*")):
                    yield file, f"encoders/{name}/{encoder}"
        elif layer == "report":
            yield Path(str(dataset._filepath)), f"reporting/{name.rpartition('.')[0]}".rstrip("/")
        elif name in ("results", "predictions"):
            yield Path(str(dataset._filepath)), "results"


def tags_of(run_params: Mapping[str, Any]) -> dict[str, str]:
    """Return under which pipeline, environment and versions a run was started."""
    from . import __version__
    from .encoders.origin import git_commit

    names = run_params.get("pipeline_names") or ["__default__"]
    return {
        "pipeline": ",".join(names),
        "environment": run_params.get("env") or "base",
        "kedro_run_id": str(run_params.get("run_id")),
        "unfused": __version__,
        "git_commit": git_commit() or "",
    }


def _tracking(catalog: Any) -> str | None:
    run = catalog.load("params:run") if "params:run" in catalog else None
    return run.get("tracking") if isinstance(run, dict) else getattr(run, "tracking", None)


def _given(pipeline: Pipeline, catalog: Any) -> dict[str, Any]:
    """Return the parameters that the run's nodes take, without ``params:``."""
    names = [name for name in sorted(pipeline.inputs()) if name.startswith("params:")]
    return {name.removeprefix("params:"): catalog.load(name) for name in names}


def _name(run_params: Mapping[str, Any]) -> str | None:
    name = (run_params.get("runtime_params") or {}).get("run_name")
    return None if name is None else str(name)
