"""The command ``kedro run`` of this project: a mistake ends in one paragraph, not a traceback."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import click
from kedro.framework.cli.project import run as kedro_run

from . import __version__
from .config import project_configuration
from .core.progress import lines_above_bars
from .mistakes import explanation
from .packaged import packaged_configuration

STOPPED = "stopped; run the same command again to go on"
SIGINT_STATUS, SIGTERM_STATUS = 128 + signal.SIGINT, 128 + signal.SIGTERM
COMMA = (
    "A comma separates parameters: a path with a comma goes into the environment variable "
    "UNFUSED_AUDIO (or UNFUSED_UNLABELLED), a list into a file under conf."
)


class RunCommand(click.Command):
    """Kedro's command with last words of our own.

    With ``UNFUSED_TRACEBACK=1`` in the environment mistakes keep their traceback.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the command line; where a comma broke it, say what to do about commas."""
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            if "`params` option" not in error.message:
                raise
            raise click.UsageError(f"{error.message} {COMMA}", ctx) from error

    def invoke(self, ctx: click.Context) -> Any:
        """Run the pipelines.

        Raises:
            click.ClickException: The user can help it; click shows the words and exits with 1.
        """
        try:
            with _sigterm_as_exit(), lines_above_bars():
                return super().invoke(ctx)
        except KeyboardInterrupt:
            _stopped(ctx, SIGINT_STATUS)
        except SystemExit as end:
            if end.code != SIGTERM_STATUS:
                raise
            _stopped(ctx, SIGTERM_STATUS)
        except Exception as error:
            words = None if os.getenv("UNFUSED_TRACEBACK") == "1" else explanation(error)
            if words is None:
                raise
            raise click.ClickException(words) from error


def _stopped(ctx: click.Context, status: int) -> None:
    click.echo(STOPPED, err=True)
    ctx.exit(status)


@contextmanager
def _sigterm_as_exit() -> Iterator[None]:
    """Let SIGTERM unwind the run as Ctrl-C does, so that workers and files are closed."""

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(SIGTERM_STATUS)

    if threading.current_thread() is not threading.main_thread():  # signals never come here
        yield
        return
    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@click.group(name=__package__)
@click.version_option(__version__, package_name="unfused")
def cli() -> None:
    """Low-resource audio representation learning: UnFuSeD, its relatives and the LAPE benchmark."""


run = RunCommand(
    name="run", callback=kedro_run.callback, params=kedro_run.params, help=kedro_run.help
)
cli.add_command(run)


def default_configuration() -> None:
    """Let ``run`` take the package's configuration where the working folder has none."""
    source = next(option for option in run.params if option.name == "conf_source")
    here = (project_configuration() / "base").is_dir()
    source.default = None if here else str(packaged_configuration())
