"""The command ``run`` of this project: what the user can mend ends in words, not in a traceback."""

import multiprocessing
import os
import re
import signal
import socket
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import click
from kedro.framework.cli.project import run as kedro_run
from kedro.framework.project import settings
from kedro.io import DatasetError
from omegaconf.errors import OmegaConfBaseException
from pydantic import ValidationError
from tqdm.contrib.logging import logging_redirect_tqdm
from yaml import YAMLError

from . import __version__
from .config import packaged_configuration, project
from .core.errors import STOPPING, UserError

STOPPED = "stopped; run the same command again to go on"
SIGNALS = (signal.SIGINT, signal.SIGTERM)
PATIENCE = 4.0
"""Seconds after a signal in which a run may close its workers and files by itself."""
REMEDIES = {
    "again": "kedro run --pipelines=unfused makes everything",
    "audio": "--params data=<folder>, or make unfused DATA=<folder>",
    "columns": "--params tasks.own_data.columns.path=<column>",
    "encoder": "in a file of parameters methods.conformer.encoder: {name: conformer}",
    "folder": "--params run_name=<name>",
    "joined": "in a file of parameters evaluation.joined",
    "n_jobs": "--params extraction.n_jobs=<number>",
    "unlabelled": "--params unlabelled=<folder>; pretraining.task_audio is the parameter",
}
"""How a command is told what :class:`~unfused.core.errors.UserError` advises."""
_received: list[int] = []  # signals of this command
MEANT_FOR_USERS = (UserError, OSError, ValidationError, OmegaConfBaseException, YAMLError)


class RunCommand(click.Command):
    """Kedro's command with last words of our own.

    With ``UNFUSED_TRACEBACK=1`` in the environment every error keeps its traceback.
    """

    def invoke(self, ctx: click.Context) -> Any:
        """Run the pipelines.

        Raises:
            click.ClickException: The user can help it; click shows the words and exits with 1.
        """
        take_packaged_configuration(ctx.params)
        STOPPING.clear()
        _received.clear()
        try:
            with _heard_signals(), logging_redirect_tqdm():
                return super().invoke(ctx)
        except (KeyboardInterrupt, SystemExit) as stopped:
            status = getattr(stopped, "code", 128 + signal.SIGINT)
            status = 128 + _received[0] if _received else status  # its exception may be lost
            if status not in (128 + signal.SIGINT, 128 + signal.SIGTERM):
                raise
            click.echo(STOPPED, err=True)
            ctx.exit(status)
        except click.ClickException:
            raise
        except Exception as error:
            if os.environ.get("UNFUSED_TRACEBACK") == "1" or not words_say_it(error):
                raise
            raise click.ClickException(words_of(error)) from error


@contextmanager
def _heard_signals() -> Iterator[None]:
    """Let a signal unwind the run, so that workers and files are closed; but only for a while.

    Compiled code may not come back to the interpreter for long, and libraries swallow what is
    raised in their callbacks: a thread that the system itself wakes ends the process then.
    """
    if threading.current_thread() is not threading.main_thread():  # signals come there alone
        yield
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    ended, (woken, waking) = threading.Event(), socket.socketpair()
    waking.setblocking(False)
    old = signal.set_wakeup_fd(waking.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_insist, args=(woken, ended), daemon=True).start()
    for number, handler in before.items():
        if handler != signal.SIG_IGN:  # a script's background jobs are to ignore Ctrl-C
            signal.signal(number, _stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(old)
        ended.set()
        waking.close()


def _insist(woken: socket.socket, ended: threading.Event) -> None:
    """End process and workers a while after a signal; a training ends after its step."""
    with woken:
        while (received := woken.recv(1)) and received[0] not in SIGNALS:
            pass
    if received:
        while signal.getsignal(received[0]) is not _stop and not ended.wait(0.1):
            pass
        if not ended.wait(PATIENCE):  # whatever is not whole counts as unfinished
            for worker in multiprocessing.active_children():
                worker.kill()
            click.echo(STOPPED, err=True)
            os._exit(128 + received[0])


def _stop(number: int, frame: FrameType | None) -> None:
    _received.append(number)
    STOPPING.set()
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + number)


def words_say_it(error: BaseException) -> bool:
    """Return whether an error's words are all that a user needs, because it is no bug.

    Kedro wraps what happens to a dataset, and refuses pipelines, nodes and environments that are
    not there with errors of its own or plain ones.
    """
    if isinstance(error, DatasetError) and error.__cause__ is not None:
        return words_say_it(error.__cause__)
    if isinstance(error, MEANT_FOR_USERS) or type(error).__module__.startswith("kedro."):
        return True
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    where = str(frames[-1].f_globals.get("__name__")) if frames else ""
    return isinstance(error, ValueError) and where.startswith("kedro.")


def words_of(error: BaseException) -> str:
    """Return an error's words, and how a command is told what they advise.

    Numpy does not say why an array could not be written.
    """
    words, cause = str(error), error.__cause__
    remedy = getattr(error, "remedy", "") or getattr(cause, "remedy", "")
    if remedy:
        return f"{words} ({REMEDIES[remedy]})"
    if isinstance(error, OSError) and re.fullmatch(r"\d+ requested and \d+ written", words):
        return f"the disk is full ({words}): make room and run the same command again"
    return words


def take_packaged_configuration(params: dict[str, Any]) -> None:
    """Let ``run`` take the package's configuration where the working folder has none.

    An environment's folder in ``conf/`` of the working folder goes before the package's.
    """
    here = project() / settings.CONF_SOURCE
    if params["conf_source"] is None and not (here / "base").is_dir():
        params["conf_source"] = str(packaged_configuration())
        own = here / (params["env"] or os.environ.get("KEDRO_ENV") or "local")
        if own.is_dir():
            params["env"] = str(own)


@click.group(name=__package__)
@click.version_option(__version__, package_name="unfused")
def cli() -> None:
    """Low-resource audio representation learning: UnFuSeD, its relatives and the LAPE benchmark."""


run = RunCommand(
    name="run", callback=kedro_run.callback, params=kedro_run.params, help=kedro_run.help
)
cli.add_command(run)
