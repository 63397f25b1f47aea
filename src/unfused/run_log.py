"""What a run says of itself: what it is going to do, a line per stage, a summary, the verdict."""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click
from kedro.framework.hooks import hook_impl
from kedro.pipeline.node import Node

from .mistakes import explanation
from .pipeline_registry import announcement

log = logging.getLogger("unfused")
WORTH_A_LINE = 1.0  # seconds
_MOST = 12  # lines of the summary
RESULTS = {"classify audio": "new_audio.predictions", "write model card": "model_card"}
"""Stages that end a run -> the result that people look at."""
_OUTCOMES = ("built", "reused", "rebuilt", "resumed")


class Stage(NamedTuple):
    """A node that has run: what it did, for how long, and where the result is."""

    label: str
    seconds: float
    place: str


class RunLog:
    """Hooks that tell how a run goes; silent where another command than ``kedro run`` asks."""

    def __init__(self) -> None:
        self._began = self._node_began = 0.0
        self._stages: list[Stage] = []
        self._said = _Listener()
        self._lines_before = 0

    @hook_impl
    def after_context_created(self, context: Any) -> None:
        """Say what ``kedro run`` is going to do, before anything heavy is imported for it."""
        asked = _pipelines_of_the_command()
        if asked is not None:
            configured, data = (context.config_loader[kind] for kind in ("parameters", "globals"))
            if line := announcement(configured, asked):
                log.info("%s; results in %s", line, data["data_root"])

    @hook_impl
    def before_pipeline_run(self) -> None:
        """Start the clock."""
        self._began = time.monotonic()
        self._stages, self._said = [], _Listener()
        log.addHandler(self._said)

    @hook_impl
    def before_node_run(self) -> None:
        """Start the node's clock."""
        self._node_began, self._lines_before = time.monotonic(), self._said.lines

    @hook_impl
    def after_node_run(self, node: Node, catalog: Any) -> None:
        """Keep how long the node took, and say so if nothing in it said anything."""
        seconds = time.monotonic() - self._node_began
        stage = Stage(label_of(node.name), seconds, _place(node, catalog))
        self._stages.append(stage)
        if seconds >= WORTH_A_LINE and self._said.lines == self._lines_before:
            log.info("%s (%s), in %s", stage.label, in_words(seconds), stage.place)

    @hook_impl
    def on_node_error(self, error: Exception, node: Node) -> None:
        """Name the node in which a bug showed; a mistake needs no more than its words."""
        if explanation(error) is None:
            log.error("node %s failed", node.name)

    @hook_impl
    def on_pipeline_error(self) -> None:
        """Stop counting."""
        log.removeHandler(self._said)

    @hook_impl
    def after_pipeline_run(self, catalog: Any) -> None:
        """Say how long everything took, and what came out of it where there is a report."""
        log.removeHandler(self._said)
        seconds = time.monotonic() - self._began
        log.info("%s", summary(self._stages, seconds, self._said.outcomes))
        for ending, result in RESULTS.items():
            if any(stage.label.endswith(ending) for stage in self._stages):
                log.info("%s: %s", result, Path(catalog[result]._filepath).resolve())
        if any(stage.label == "write report" for stage in self._stages):
            closing = Path(catalog["closing_words"]._filepath).read_text(encoding="utf-8")
            log.info("\n%s", closing)
            log.info("report: %s", Path(catalog["report"]._filepath).resolve())


class _Listener(logging.Handler):
    """Counts the lines of the log, and what they say became of pieces of work."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines = 0
        self.outcomes: Counter[str] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        self.lines += 1
        if outcome := getattr(record, "outcome", None):
            self.outcomes[outcome] += 1


def label_of(name: str) -> str:
    """Return a node's name for people.

    >>> label_of("evaluation.birds.embed_task"), label_of("reporting.write_report")
    ('birds: embed task', 'write report')
    """
    *namespaces, last = name.split(".")
    words = last.replace("_", " ")
    return f"{namespaces[-1]}: {words}" if len(namespaces) > 1 else words


def in_words(seconds: float) -> str:
    """Return a duration for people.

    >>> in_words(0.4), in_words(59.7), in_words(115), in_words(3725)
    ('0.4 s', '60 s', '1 min 55 s', '1 h 2 min')
    """
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def summary(stages: Sequence[Stage], seconds: float, outcomes: Counter[str]) -> str:
    """Return what a run did, in the order of its stages; short ones share a line.

    Args:
        stages: Every node of the run.
        seconds: How long the run took.
        outcomes: How many pieces of work were built, reused, rebuilt and resumed.
    """
    counts = ", ".join(f"{outcomes[name]} {name}" for name in _OUTCOMES if outcomes[name])
    head = f"finished in {in_words(seconds)}" + (f" ({counts})" if counts else "")
    slowest = sorted(stages, key=lambda stage: -stage.seconds)[:_MOST]
    shown = [stage for stage in stages if stage in slowest and stage.seconds >= WORTH_A_LINE]
    rest = [stage for stage in stages if stage not in shown]
    rows = [(stage.label, in_words(stage.seconds), stage.place) for stage in shown]
    if rest and shown:
        others = f"{len(rest)} other stages" if len(rest) > 1 else rest[0].label
        rows.append((others, in_words(sum(stage.seconds for stage in rest)), ""))
    width = max((len(label) for label, *_ in rows), default=0)
    lines = [f"  {label:<{width}}  {time:>12}  {place}".rstrip() for label, time, place in rows]
    return "\n".join([head, *lines])


def _place(node: Node, catalog: Any) -> str:
    """Return where a node's result is: the folder that it fills, or its first file."""
    filled = [name for name in node.inputs if name.endswith("workspace")]
    for name in [*filled, *node.outputs]:
        path = getattr(catalog[name], "_filepath", None)
        if path is not None:
            return os.path.relpath(path) if Path(path).is_relative_to(Path.cwd()) else str(path)
    return "memory"


def _pipelines_of_the_command() -> list[str] | None:
    """Return the pipelines that ``kedro run`` was given; None where something else is running."""
    from .cli import RunCommand

    command = click.get_current_context(silent=True)
    if command is None or not isinstance(command.command, RunCommand):
        return None
    given = command.params.get("pipelines") or command.params.get("pipeline") or "__default__"
    return given.split(",") if isinstance(given, str) else list(given)
