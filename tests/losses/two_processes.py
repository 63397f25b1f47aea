"""Run functions in two processes that form a gloo group, and compare losses with one process.

The processes start once per test session and live until it ends, or until a call fails: what a
failed call left in the group must not reach the next.
"""

from __future__ import annotations

import atexit
import importlib
import os
import pickle
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from datetime import timedelta
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist

ROOT = Path(__file__).resolve().parents[2]
N_PROCESSES = 2
START_UP = 300.0  # seconds for the import of torch on a busy machine


def in_two_processes(
    function: Callable[..., Any], *arguments: Any, timeout: float = 300.0
) -> list[Any]:
    """Call ``function(*arguments)`` in both processes of a group; return both results by rank.

    Args:
        function: A function on the top level of a test module or of a package; what differs
            between the processes it takes from ``distributed.rank()``.
        *arguments: Anything that pickles; tensors are copied, without their graph.
        timeout: Seconds within which both must answer.

    Raises:
        AssertionError: A process raised (the message holds its traceback), died or did not answer.
    """
    global _pool
    start_up = 0.0
    if _pool is None:
        _pool, start_up = _Pool(), START_UP
    try:
        return _pool.call(function, arguments, timeout + start_up)
    except BaseException:
        _close()
        raise


def assert_equals_one_process(
    loss: Callable[..., Tensor],
    *rows: Tensor,
    settings: Sequence[Any] = (),
    rtol: float = 1e-5,
    atol: float = 1e-6,
) -> None:
    """Check that a loss over two half batches is the loss of the whole batch in one process.

    As under DistributedDataParallel: each process computes the loss with its half of the rows, and
    values and gradients are averaged over processes. So the mean of the values is compared with one
    process's value, and each half's gradient over two with one process's gradient of those rows.

    Args:
        loss: A function on a module's top level, called as ``loss(*rows, *settings)``; it gathers
            the other process's rows itself.
        *rows: Tensors with the batch as first dimension, even; gradients are compared for those
            with ``requires_grad``.
        settings: More arguments, the same in both processes.
        rtol: Relative tolerance.
        atol: Absolute tolerance.

    Raises:
        AssertionError: Value or gradient differ, or no row requires a gradient.
    """
    halves = [row.detach().chunk(N_PROCESSES) for row in rows]
    asked = [row.requires_grad for row in rows]
    if not any(asked) or any(len(row) % N_PROCESSES for row in rows):
        raise AssertionError("give an even number of rows, some of them with requires_grad=True")
    value, gradients = _value_and_gradients(loss, [row.detach() for row in rows], asked, settings)
    results = in_two_processes(_half, _address(loss), halves, asked, settings)
    mean = torch.stack([half for half, _ in results]).mean(dim=0)
    torch.testing.assert_close(mean, value, rtol=rtol, atol=atol)
    for number, whole in enumerate(gradients):
        joined = torch.cat([parts[number] for _, parts in results]) / N_PROCESSES
        torch.testing.assert_close(joined, whole, rtol=rtol, atol=atol)


def _half(
    loss: tuple[str, str],
    halves: Sequence[Sequence[Tensor]],
    asked: Sequence[bool],
    settings: Sequence[Any],
) -> tuple[Tensor, list[Tensor]]:
    mine = [parts[dist.get_rank()] for parts in halves]
    return _value_and_gradients(_find(*loss), mine, asked, settings)


def _value_and_gradients(
    loss: Callable[..., Tensor],
    rows: Sequence[Tensor],
    asked: Sequence[bool],
    settings: Sequence[Any],
) -> tuple[Tensor, list[Tensor]]:
    rows = [row.clone().requires_grad_(ask) for row, ask in zip(rows, asked, strict=True)]
    value = loss(*rows, *settings)
    trained = [row for row in rows if row.requires_grad]
    return value.detach(), list(torch.autograd.grad(value, trained))


class _Pool:
    """Two processes that wait for calls."""

    def __init__(self) -> None:
        context = get_context("forkserver")  # tests/conftest.py: torch is imported there once
        self.folder = tempfile.TemporaryDirectory()
        store = Path(self.folder.name, "store").as_uri()
        self.pipes: list[Connection] = []
        self.processes = []
        for rank in range(N_PROCESSES):
            here, there = context.Pipe()
            process = context.Process(target=_serve, args=(rank, store, there), daemon=True)
            process.start()
            there.close()
            self.pipes.append(here)
            self.processes.append(process)

    def call(self, function: Callable[..., Any], arguments: Any, seconds: float) -> list[Any]:
        # plain pickle, as torch's own way over pipes passes files that die with their process
        message = pickle.dumps((_address(function), arguments))
        for pipe in self.pipes:
            pipe.send_bytes(message)
        deadline = time.monotonic() + seconds
        answers: dict[int, Any] = {}
        while len(answers) < N_PROCESSES:
            self._collect(answers, deadline, seconds)
        return [answers[rank] for rank in range(N_PROCESSES)]

    def _collect(self, answers: dict[int, Any], deadline: float, seconds: float) -> None:
        missing = [pipe for rank, pipe in enumerate(self.pipes) if rank not in answers]
        ready = wait(missing, max(0.0, deadline - time.monotonic()))
        if not ready:
            ranks = [self.pipes.index(pipe) for pipe in missing]
            raise AssertionError(
                f"process {ranks} gave no answer within {seconds:.0f} s; do both processes call "
                "the same collectives, and bring the same number of rows?"
            )
        for pipe in ready:
            rank = self.pipes.index(pipe)  # type: ignore[arg-type]
            try:
                good, answer = pickle.loads(self.pipes[rank].recv_bytes())
            except (EOFError, ConnectionResetError):
                self.processes[rank].join(60)
                code = self.processes[rank].exitcode
                raise AssertionError(f"process {rank} died with exit code {code}") from None
            if not good:
                raise AssertionError(f"process {rank} failed:\n{answer}")
            answers[rank] = answer

    def close(self) -> None:
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.join()
        self.folder.cleanup()


_pool: _Pool | None = None


def _close() -> None:
    global _pool
    if _pool is not None:
        _pool.close()
    _pool = None


atexit.register(_close)


def _address(function: Callable[..., Any]) -> tuple[str, str]:
    """Return module and name of a function; a test module's name is its path from the root."""
    name, module = function.__qualname__, sys.modules[function.__module__]
    if "<" in name or "." in name:
        raise AssertionError(f"{name} must stand on the top level of its module")
    file = Path(module.__file__ or "").resolve()
    if file.is_relative_to(ROOT / "tests"):
        return ".".join(file.relative_to(ROOT).with_suffix("").parts), name
    return module.__name__, name


def _find(module: str, name: str) -> Any:
    return getattr(importlib.import_module(module), name)


def _serve(rank: int, store: str, pipe: Connection) -> None:
    """Join the group, then answer calls until the pipe closes."""
    torch.set_num_threads(1)
    os.environ.setdefault("TQDM_DISABLE", "1")
    dist.init_process_group(
        "gloo",
        init_method=store,
        rank=rank,
        world_size=N_PROCESSES,
        timeout=timedelta(seconds=START_UP),
    )
    while True:
        try:
            message = pipe.recv_bytes()
        except (EOFError, OSError):
            return
        pipe.send_bytes(_answer(message))


def _answer(message: bytes) -> bytes:
    try:
        address, arguments = pickle.loads(message)
        result = _find(*address)(*arguments)
        return pickle.dumps((True, result))
    except BaseException:
        return pickle.dumps((False, traceback.format_exc()))
