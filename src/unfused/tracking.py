"""MLflow, where ``run.tracking: mlflow`` asks for it: each run becomes one of MLflow's."""

import os
from pathlib import Path
from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.pipeline import Pipeline

from .core.errors import UserError


class TrackingHooks:
    """Log finished and failed runs, at their end; without ``run.tracking`` import nothing."""

    @hook_impl
    def before_pipeline_run(self, catalog: Any) -> None:
        """Reach the store before any work is done: ``MLFLOW_TRACKING_URI``, else a file.

        Raises:
            UserError: MLflow is not installed, or its store cannot be used.
        """
        self._mlflow: Any = None
        run = catalog.load("params:run") if "params:run" in catalog else None
        if run is None or getattr(run, "tracking", None) != "mlflow":  # untyped if no node takes it
            return
        try:
            import mlflow

            beside = f"sqlite:///{run.folder.parent / 'mlflow.db'}"
            mlflow.set_tracking_uri(os.environ.get("MLFLOW_TRACKING_URI") or beside)
            mlflow.set_experiment(os.environ.get("MLFLOW_EXPERIMENT_NAME", "unfused"))
        except ImportError as error:
            raise UserError("run.tracking=mlflow needs pip install 'unfused[tracking]'") from error
        except mlflow.MlflowException as error:
            raise UserError(f"run.tracking=mlflow: MLflow's store fails ({error})") from error
        self._mlflow = mlflow

    @hook_impl
    def after_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: Any
    ) -> None:
        """Log what the run was given, its scores, and the folder of its report."""
        self.on_pipeline_error(None, run_params, pipeline, catalog)

    @hook_impl
    def on_pipeline_error(
        self, error: Exception | None, run_params: dict[str, Any], pipeline: Pipeline, catalog: Any
    ) -> None:
        """Log what a failed run was given, and why it failed."""
        if self._mlflow is None:
            return
        from .reporting.runs import flatten

        names = [name for name in sorted(pipeline.inputs()) if name.startswith("params:")]
        given = flatten({name.removeprefix("params:"): catalog.load(name) for name in names})
        tags = {key: str(run_params.get(key)) for key in ("pipeline_names", "env", "run_id")}
        if error is not None:
            tags["error"] = f"{type(error).__name__}: {error}"[:5000]
        run_name = (run_params.get("runtime_params") or {}).get("run_name")
        self._mlflow.start_run(run_name=run_name and str(run_name), tags=tags)
        self._mlflow.log_params({name: str(value)[:6000] for name, value in given.items()})
        if error is None and "summary" in pipeline.all_outputs():
            self._mlflow.log_metrics(metrics_of(catalog.load("summary")))
            self._mlflow.log_artifacts(Path(catalog.get("summary").filepath).parent, "reporting")
        self._mlflow.end_run("FINISHED" if error is None else "FAILED")


def metrics_of(summary: Any) -> dict[str, float]:
    """Return the summary's mean scores by task, encoder, ..., fitted on and metric."""
    from .reporting.summary import KEY

    summary = summary.dropna(subset="mean")
    named = summary[[*KEY, "metric"]].astype(str)
    names = named.agg("/".join, axis=1).str.replace(r"[^/\w.\- ]", "_", regex=True)
    return dict(zip(names, summary["mean"].astype(float), strict=True))
