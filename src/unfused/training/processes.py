"""Several processes of one command: they start together, and none outlives another's failure."""

from __future__ import annotations

import logging
import os
import pickle
import signal
import tempfile
import threading
import traceback
from collections.abc import Callable, Sequence
from logging.handlers import QueueHandler
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Literal

import torch
from torch import distributed as dist
from tqdm import tqdm

from ..core.errors import UserError
from .interruption import StopRequest
from .precision import pick_device

Number = int | Literal["auto"]


class ProcessFailed(RuntimeError):  # noqa: N818
    """One of several processes ended by itself; the message says which and how."""


def number_of_processes(asked: Number, device: str) -> int:
    """Return how many processes to train in, one per GPU.

    Args:
        asked: A number, or "auto": as many as there are GPUs, and 1 on other devices.
        device: Where to train: ``auto``, ``cpu``, ``cuda`` or ``mps``.

    Raises:
        ValueError: More processes than GPUs, or several on a device that cannot have several.
    """
    kind = pick_device(device).type
    if asked == "auto":
        return torch.cuda.device_count() if kind == "cuda" else 1
    if asked < 1:
        raise UserError(f"processes={asked} must be at least 1, or 'auto'")
    if asked > 1 and kind == "mps":
        raise UserError(f"processes={asked}: there is one GPU on mps; take 1, or device='cpu'")
    if kind == "cuda" and asked > torch.cuda.device_count():
        raise UserError(
            f"processes={asked} need one GPU each, and there are {torch.cuda.device_count()}; "
            "take fewer, or 'auto'"
        )
    return asked


def in_processes(
    function: Callable[..., None], arguments: Sequence[Any], *, count: int, device: str
) -> None:
    """Call a function in ``count`` new processes that form a process group, and wait for them.

    On SIGINT or SIGTERM all are told to stop after their step, as :func:`~.loop.fit` does; a second
    signal ends them at once. If one fails or is killed the others are ended too: started again,
    training goes on from the last checkpoint. What process 0 logs, and the others' warnings, appear
    in this process's log.

    Args:
        function: What a module can be asked for by name.
        arguments: Its arguments, which travel by pickle.
        count: How many processes.
        device: Where they compute; on CUDA each has its own GPU.

    Raises:
        ProcessFailed: A process was killed, or its error cannot travel.
        KeyboardInterrupt: After SIGINT.
        SystemExit: After SIGTERM.
        Exception: What the function raised, with the traceback of its process as cause.
    """
    with tempfile.TemporaryDirectory() as folder, StopRequest() as stop:
        store = Path(folder, "store").as_uri()
        children = [
            _Child(rank, count, (store, device, function, arguments)) for rank in range(count)
        ]
        try:
            _supervise(children, stop)
        finally:
            for child in children:
                child.kill()
        if stop.requested:
            stop.end(stop.requested)


def _supervise(children: Sequence[_Child], stop: StopRequest) -> None:
    """Return when all have ended, raise as soon as one has failed."""
    told = False
    while running := {child.pipe: child for child in children if not child.ended}:
        if stop.requested and not told:
            told = True
            for child in running.values():
                child.process.terminate()
        ready = wait(list(running), timeout=0.2)
        for child in (child for pipe, child in running.items() if pipe in ready):
            failure = child.receive()  # that of process 0, which logs, first
            if failure is not None and not stop.requested:
                raise failure


class _Child:
    """One of the processes, seen from the one that started it."""

    def __init__(self, rank: int, count: int, task: tuple[Any, ...]) -> None:
        context = get_context("spawn")
        self.rank, self.count, self.ended = rank, count, False
        self.pipe, there = context.Pipe(duplex=False)
        self.process = context.Process(
            target=_work, args=(rank, count, there, *task), daemon=True, name=f"training {rank}"
        )
        self.process.start()
        there.close()

    def receive(self) -> BaseException | None:
        """Log a message, or return why the process failed."""
        try:
            message = self.pipe.recv()
        except EOFError:
            return self._end()
        if isinstance(message, logging.LogRecord):
            logger = logging.getLogger(message.name)
            if logger.isEnabledFor(message.levelno):
                logger.handle(message)
            return None
        error, trace = message
        where = f"in process {self.rank} of {self.count}"
        if error is None:
            return ProcessFailed(f"{where}:\n{trace}")
        error.__cause__ = _Elsewhere(f"{where}:\n{trace}")
        return error

    def _end(self) -> ProcessFailed | None:
        self.ended = True
        self.process.join()
        code = self.process.exitcode
        if code == 0:
            return None
        how = (
            f"killed by {signal.Signals(-code).name}" if code and code < 0 else f"ended with {code}"
        )
        return ProcessFailed(
            f"training process {self.rank} of {self.count} was {how}; start the same run again: it "
            "goes on from the last checkpoint"
        )

    def kill(self) -> None:
        """End the process if it has not ended."""
        self.process.kill()
        self.process.join()


class _Elsewhere(Exception):  # noqa: N818
    """Carries the traceback of another process."""

    def __str__(self) -> str:
        return "\n" + str(self.args[0])


class _ToParent(QueueHandler):
    """Sends log records through a pipe."""

    def __init__(self, pipe: Connection) -> None:
        super().__init__(pipe)  # type: ignore[arg-type]
        self.pipe = pipe

    def enqueue(self, record: logging.LogRecord) -> None:
        self.pipe.send(record)


def _work(
    rank: int,
    count: int,
    pipe: Connection,
    store: str,
    device: str,
    function: Callable[..., None],
    arguments: Sequence[Any],
) -> None:
    """Live as one of the processes."""
    if hasattr(os, "setsid"):
        os.setsid()  # Ctrl-C reaches the parent alone, which passes it on once
    threading.Thread(target=_follow_parent, daemon=True).start()
    tqdm.set_lock(threading.RLock())  # its own is a semaphore, which a killed process leaves behind
    logging.basicConfig(level=logging.INFO if rank == 0 else logging.WARNING, handlers=[])
    logging.getLogger().addHandler(_ToParent(pipe))
    logging.getLogger(StopRequest.__module__).setLevel(logging.ERROR)  # the parent says it
    try:
        _join_group(rank, count, store, device)
        function(*arguments)
        dist.destroy_process_group()
    except Exception as error:
        pipe.send((_portable(error), traceback.format_exc()))
        raise SystemExit(1) from None


def _follow_parent() -> None:
    """Stop, after a checkpoint, when the process that started this one is gone."""
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)


def _join_group(rank: int, count: int, store: str, device: str) -> None:
    if pick_device(device).type == "cuda":
        torch.cuda.set_device(rank)
        backend, gpu = "nccl", torch.device("cuda", rank)
    else:
        backend, gpu = "gloo", None
        torch.set_num_threads(max(1, torch.get_num_threads() // count))
    dist.init_process_group(backend, init_method=store, rank=rank, world_size=count, device_id=gpu)


def _portable(error: Exception) -> Exception | None:
    """Return the error if it was raised for users to read and can travel, else None."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    module = str(trace.tb_frame.f_globals.get("__name__", "")) if trace is not None else ""
    package = __name__.partition(".")[0]
    if isinstance(error, ValueError) and module.partition(".")[0] != package:
        return None  # a library's: no words for users, so the whole traceback has to be shown
    try:
        copy = pickle.loads(pickle.dumps(error))
    except Exception:
        return None
    return copy if type(copy) is type(error) and str(copy) == str(error) else None
