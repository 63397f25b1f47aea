"""What a run checks before it begins, and what it says of itself. Nothing heavy is imported."""

import gc
import logging
import os
import re
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
from kedro.framework.hooks import hook_impl
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from . import config
from .core.errors import UserError
from .core.repeats import seeds_of

log = logging.getLogger("unfused")
RESULTS = ("report", "new_audio.predictions", "model_card")
"""Datasets that people look at when a run has ended."""
_OF_A_MODEL = {"classify", "label_next", "export"}  # pipelines of the model that a run kept


class ProjectHooks:
    """The hooks of every command; only a run says anything."""

    def __init__(self) -> None:
        self._began = self._node_began = time.monotonic()
        self._took: dict[str, float] = {}
        self._folder = Path()
        self._release: Callable[[], None] = lambda: None  # gives back what a run has claimed
        self._is_command = False

    @hook_impl
    def after_context_created(self, context: Any) -> None:
        """Keep the configuration, and say what ``kedro run`` is going to do before it loads torch.

        Raises:
            UserError: The configuration has names that nothing reads.
        """
        from .params import Study, check_values

        config.keep(context)
        study, parameters = Study.of(config.parameters()), config.parameters()
        check_short(parameters, context.config_loader.runtime_params or {})
        root = context.config_loader["globals"]["data_root"]
        folder = config.run_folder(root, parameters.get("run_name"))
        self._folder = Path(context.project_path) / folder
        command = click.get_current_context(silent=True)
        self._is_command = command is not None and command.info_name == "run"
        if command is not None and self._is_command:
            asked = command.params.get("pipelines") or [command.params.get("pipeline")]
            said, takes = ", ".join(name or "__default__" for name in asked), ""
            if not _OF_A_MODEL.issuperset(asked):
                run = parameters.get("run") or {}
                seeds = ", ".join(map(str, seeds_of(run.get("seeds")) or []))
                said += f" on {', '.join(study.tasks)}; teacher {study.teacher}, seeds {seeds}"
                expected = run.get("expected")
                if not expected and study.rendered.keys() & set(study.tasks):
                    expected = (parameters.get("demo") or {}).get("expected")
                takes = f"; the whole study takes {expected}" if expected else ""
            log.info("%s; results in %s%s", said, folder, takes)
            check_values(parameters)  # before Kedro does, in our words
            gc.freeze()  # what it has imported stays: the collector need not go through it again

    @hook_impl
    def before_pipeline_run(self, pipeline: Pipeline, catalog: Any) -> None:
        """Refuse what is sure to fail later, and let no other process write the run's files."""
        from .core import written
        from .core.locks import Claim
        from .core.outputs import OUTCOMES
        from .params import check_values

        if not self._is_command:  # of a command they are checked before Kedro does
            check_values(config.parameters())
        check_inputs(pipeline, catalog)
        check_settings(pipeline, catalog)
        self._release()
        files = [Path(catalog.get(name).filepath) for name in pipeline.all_outputs()]
        names = [os.path.relpath(file, self._folder) for file in files]
        self._release = Claim(self._folder, names).release
        written.begin(self._folder, files)
        OUTCOMES.clear()
        self._took.clear()
        self._began = time.monotonic()

    @hook_impl
    def on_pipeline_error(self) -> None:
        """Let other processes write again."""
        self._release()

    @hook_impl
    def before_node_run(self) -> None:
        """Start the node's clock."""
        self._node_began = time.monotonic()

    @hook_impl
    def after_node_run(self, node: Node) -> None:
        """Say how long a stage took, if it took at all."""
        self._took[label_of(node.name)] = seconds = time.monotonic() - self._node_began
        if seconds >= 1:
            log.info("%s (%s)", label_of(node.name), in_words(seconds))

    @hook_impl
    def after_pipeline_run(self, pipeline: Pipeline, catalog: Any) -> None:
        """Say how long everything took, what was built and reused, and where the results are."""
        from .core.outputs import OUTCOMES

        self._release()
        counts = ", ".join(f"{count} {name}" for name, count in OUTCOMES.items())
        took = in_words(time.monotonic() - self._began)
        longest = sorted(self._took, key=self._took.__getitem__, reverse=True)[:3]
        named = ", ".join(f"{name} ({in_words(self._took[name])})" for name in longest)
        log.info("finished in %s%s; longest: %s", took, f" ({counts})" if counts else "", named)
        if "closing_words" in pipeline.all_outputs():
            log.info("\n%s", catalog.load("closing_words"))
        for name in RESULTS:
            if name in pipeline.all_outputs():
                log.info("%s: %s", name, catalog.get(name).filepath)


def check_short(parameters: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Refuse short names in a file, where nothing reads them; ``given`` is the command line.

    Raises:
        UserError: There is one.
    """
    from .params import SHORT

    if ignored := [name for name in SHORT if name in parameters and name not in given]:
        raise UserError(
            f"{ignored[0]} is short for the command line (--params {ignored[0]}=...) and means "
            "nothing in a file: set there what docs/configuration.md says it stands for"
        )


def check_inputs(pipeline: Pipeline, catalog: Any) -> None:
    """Refuse to use a model before there is one, to classify nothing, and to write nowhere.

    Raises:
        UserError: New audio is not named, or what an earlier run leaves behind is not there.
        OSError: Results cannot be written.
    """
    from .core import written

    if "params:classify" in pipeline.inputs() and not catalog.load("params:classify").audio:
        raise UserError("no new audio is named: give --params new_audio=<folder or file>")
    takes_labels = pipeline.inputs() & {"params:tasks.own_data", "params:label_next"}
    if config.parameters().get("labels") and not takes_labels:
        raise UserError("labels= adds to data=: name that too, or set tasks.<name>.labelled_since")
    data = [name for name in pipeline.inputs() if not name.startswith("param")]
    for name in data:
        written.check(Path(catalog.get(name).filepath))
    if missing := sorted(name for name in data if not catalog.exists(name)):
        raise UserError(
            f"{', '.join(missing)} not found: run `kedro run --pipelines=unfused` first, with the "
            "same --env, run_name and tasks"
        )
    for folder in {Path(catalog.get(name).filepath).parent for name in pipeline.all_outputs()}:
        check_writable(folder)


def check_writable(folder: Path) -> None:
    """Make a folder of results, and see that there is room for anything in it, else OSError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"room")
    except OSError as error:
        raise OSError(
            error.errno,
            f"results cannot be written to {folder} ({error.strerror}): make room, make it "
            "writable, or name another folder as data_root in conf/local/globals.yml",
        ) from error


def check_settings(pipeline: Pipeline, catalog: Any) -> None:
    """Check what only makes sense together, where a run takes all of it."""
    from .params import check_together

    names = ("encoder", "front_end", "unfused", "evaluation")
    if pipeline.inputs().issuperset(f"params:{name}" for name in names):
        methods = {
            name.removeprefix("params:methods."): catalog.load(name)
            for name in pipeline.inputs()
            if re.fullmatch(r"params:methods\.\w+", name)
        }
        check_together(methods, *[catalog.load(f"params:{name}") for name in names])
    for name in sorted(pipeline.inputs()):
        if name.startswith("params:teachers."):
            from .embeddings.embedder import as_embedder

            as_embedder(catalog.load(name))


def label_of(name: str) -> str:
    """Return a node's name for people.

    >>> label_of("evaluation.birds.embed_clips"), label_of("reporting.write_report")
    ('birds: embed clips', 'write report')
    """
    *namespaces, last = name.split(".")
    words = last.replace("_", " ")
    return f"{namespaces[-1]}: {words}" if len(namespaces) > 1 else words


def in_words(seconds: float) -> str:
    """Return a duration for people.

    >>> in_words(0.4), in_words(59.7), in_words(115), in_words(3725)
    ('0.4 s', '60 s', '1 min 55 s', '1 h 2 min')
    """
    if seconds < 99.5:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
