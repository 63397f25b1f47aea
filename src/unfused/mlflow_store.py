"""A store of MLflow's. MLflow is imported when a store is made, never before."""

from __future__ import annotations

import importlib.util
import logging
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from .core.errors import UserError

log = logging.getLogger(__name__)
EXPERIMENT = "unfused"
AT_ONCE = 100  # parameters or metrics of a request


@dataclass
class Logged:
    """What is logged of a run.

    Attributes:
        parameters: Dotted name -> value as text.
        metrics: Name -> score.
        artifacts: File or folder, and the folder of the run's artifacts that it goes to.
        tags: Name -> text.
    """

    parameters: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    artifacts: list[tuple[Path, str]] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)


class MLflowStore:
    """Where runs are logged: ``MLFLOW_TRACKING_URI``, else ``mlflow.db`` beside the data.

    Args:
        root: Folder of the data; gets ``mlflow.db`` and ``mlflow_artifacts``.

    Raises:
        ValueError: MLflow is not installed, or its store cannot be reached.
    """

    def __init__(self, root: Path) -> None:
        if importlib.util.find_spec("mlflow") is None:
            raise UserError(
                "run.tracking=mlflow, but MLflow is not installed: pip install "
                "'unfused[tracking]', or set run.tracking to null"
            )
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        here = root.absolute()
        self.uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{here / 'mlflow.db'}"
        self._failures: tuple[type[Exception], ...] = (MlflowException, OSError)
        try:
            self._client = MlflowClient(tracking_uri=self.uri)
            self._experiment = self._find_experiment(here)
        except self._failures as error:
            raise UserError(
                f"MLflow's store {self.uri} cannot be used ({error}): set MLFLOW_TRACKING_URI to "
                "one that can, or run.tracking to null"
            ) from error

    def _find_experiment(self, root: Path) -> str:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
        known = self._client.get_experiment_by_name(name)
        if known is not None:
            return str(known.experiment_id)
        beside = None if os.environ.get("MLFLOW_TRACKING_URI") else root / "mlflow_artifacts"
        place = beside.as_uri() if beside else None
        return str(self._client.create_experiment(name, artifact_location=place))

    def add(self, name: str | None, made: Logged, began: int, status: str) -> None:
        """Log a run; if the store fails now, say so: the results are in their files all the same.

        Args:
            name: What it is called; None: MLflow finds a name.
            made: What is logged.
            began: When it began, milliseconds since 1970.
            status: ``FINISHED`` or ``FAILED``.
        """
        run = None
        try:
            run = self._client.create_run(
                self._experiment, start_time=began, tags=made.tags, run_name=name
            )
            self._fill(run.info.run_id, made)
            self._client.set_terminated(run.info.run_id, status)
        except self._failures as error:
            if run is not None:
                with suppress(*self._failures):
                    self._client.set_terminated(run.info.run_id, "FAILED")
            log.error("MLflow took only part of this run or none of it, at %s: %s", self.uri, error)
        else:
            log.info("logged as %r in MLflow, %s", run.info.run_name, self.uri)

    def _fill(self, run_id: str, made: Logged) -> None:
        from mlflow.entities import Metric, Param

        now = time.time_ns() // 1_000_000
        parameters = [Param(*item) for item in made.parameters.items()]
        metrics = [Metric(key, value, now, 0) for key, value in made.metrics.items()]
        for some in _batches(parameters):
            self._client.log_batch(run_id, params=some)
        for some in _batches(metrics):
            self._client.log_batch(run_id, metrics=some)
        for path, place in made.artifacts:
            if path.is_dir():
                self._client.log_artifacts(run_id, str(path), f"{place}/{path.name}")
            else:
                self._client.log_artifact(run_id, str(path), place)


def _batches(items: Sequence[Any]) -> Iterator[list[Any]]:
    rest = iter(items)
    while some := list(islice(rest, AT_ONCE)):
        yield some
