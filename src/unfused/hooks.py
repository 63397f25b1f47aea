"""Hooks: checks before the first node, timings, the last lines. Nothing heavy is imported."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from .config import ProjectConfigLoader
from .mistakes import explanation
from .params import (
    Distillation,
    EncoderParams,
    Evaluation,
    FrontEndParams,
    MethodParams,
    check_together,
)

log = logging.getLogger("unfused")
RESULTS = {"classify_audio": "new_audio.predictions", "write_model_card": "model_card"}
"""Nodes that end a run -> the result that people look at."""


class CheckHooks:
    """Refuse what is sure to fail later, before anything expensive is done."""

    @hook_impl
    def before_pipeline_run(self, pipeline: Pipeline, catalog: Any) -> None:
        """Check that results can be written, and settings that only matter together."""
        check_model(pipeline, catalog)
        check_writable(Path(ProjectConfigLoader.current()["globals"]["data_root"]))
        wanted = {
            "params:encoder": EncoderParams,
            "params:front_end": FrontEndParams,
            "params:unfused.distillation": Distillation,
            "params:evaluation": Evaluation,
        }
        found = [catalog.load(name) for name in wanted if name in catalog]
        if [type(item) for item in found] == list(wanted.values()):  # only what a run uses is typed
            named = [name for name in catalog if name.startswith("params:methods.")]
            methods = {name.split(".", 1)[1]: catalog.load(name) for name in named}
            typed = {n: item for n, item in methods.items() if isinstance(item, MethodParams)}
            encoder, front_end, distillation, evaluation = found
            check_together(encoder, front_end, distillation, evaluation, typed)


def check_model(pipeline: Pipeline, catalog: Any) -> None:
    """Refuse to use a model before there is one, and to classify nothing.

    Raises:
        ValueError: New audio is not named, or what a run leaves behind is not there.
    """
    tags = {tag for node in pipeline.nodes for tag in node.tags}
    if "classify" in tags and not catalog.load("params:classify").audio:
        raise ValueError(
            "no new audio is named: kedro run --pipeline=classify --params new_audio=<folder or "
            "file>, or make classify AUDIO=<folder or file>"
        )
    needed = [
        name
        for name in pipeline.inputs()
        if "inference" in tags
        if not name.startswith("params:") and not name.endswith("workspace")
    ]
    missing = sorted(name for name in needed if not catalog.exists(name))
    if missing:
        raise ValueError(
            f"there is no trained model to use ({', '.join(missing)} not found): first run `kedro "
            "run --pipeline=unfused` with the same --env (and run_name), for your own data with "
            "--params data=<folder>; or name a stored classifier with model.folder=<folder>, "
            "or another task of a finished run with model.task=<task>"
        )


def check_writable(folder: Path) -> None:
    """Make the folder of all results.

    Raises:
        OSError: It cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OSError(
            error.errno,
            f"results cannot be written to data_root={str(folder)!r} ({error.strerror}): make it "
            "writable, or name another folder as data_root in conf/local/globals.yml",
        ) from error


class RunHooks:
    """Report timings of nodes and close the run with the verdict."""

    def __init__(self) -> None:
        self._began = 0.0
        self._node_began: dict[str, float] = {}
        self._seconds: dict[str, float] = {}

    @hook_impl
    def before_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: Any
    ) -> None:
        """Start the clock, and say how long it may take where the configuration knows."""
        self._began = time.monotonic()
        self._seconds.clear()
        groups = ["params:run"]
        if _is_unfused(run_params) and any("params:demo" in node.inputs for node in pipeline.nodes):
            groups.append("params:demo")  # what the demo takes says nothing of other pipelines
        found = (_expected(catalog.load(name)) for name in groups if name in catalog)
        if expected := next(filter(None, found), None):
            log.info("expected time: %s", expected)

    @hook_impl
    def before_node_run(self, node: Node) -> None:
        """Start the node's clock."""
        self._node_began[node.name] = time.monotonic()

    @hook_impl
    def after_node_run(self, node: Node) -> None:
        """Keep how long the node took."""
        self._seconds[node.name] = time.monotonic() - self._node_began[node.name]

    @hook_impl
    def on_node_error(self, error: Exception, node: Node) -> None:
        """Name the node in which a bug showed; a mistake needs no more than its words."""
        if explanation(error) is None:
            log.error("node %s failed", node.name)

    @hook_impl
    def after_pipeline_run(self, run_params: dict[str, Any], catalog: Any) -> None:
        """Say how long the run took, and what came out of it where there is a report."""
        slowest = sorted(self._seconds.items(), key=lambda item: -item[1])[:3]
        parts = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in slowest)
        log.info("finished in %.0f s (%s)", time.monotonic() - self._began, parts)
        for node, result in RESULTS.items():
            if any(name.endswith(node) for name in self._seconds):
                log.info("%s: %s", result, Path(catalog[result]._filepath).resolve())
        if any(name.endswith("write_report") for name in self._seconds):
            closing = Path(catalog["closing_words"]._filepath).read_text(encoding="utf-8")
            log.info("\n%s", closing)
            log.info("report: %s", Path(catalog["report"]._filepath).resolve())


def _is_unfused(run_params: Mapping[str, Any]) -> bool:
    """Return whether all of UnFuSeD is run, and nothing else."""
    names = run_params.get("pipeline_names") or [run_params.get("pipeline_name")]
    return set(names) <= {None, "__default__", "unfused"}


def _expected(run: Any) -> str | None:
    return run.get("expected") if isinstance(run, dict) else getattr(run, "expected", None)
