"""Checks before the first node. Nothing heavy is imported."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.pipeline import Pipeline

from .config import ProjectConfigLoader
from .core.errors import UserError
from .params import (
    Distillation,
    EncoderParams,
    Evaluation,
    FrontEndParams,
    MethodParams,
    check_together,
)


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
        raise UserError(
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
        raise UserError(
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
