"""Several processes of one training: started by torch, kept the same, stopped when asked to.

Each process passes its part of the batch through its own copy of the method. A copy changes by the
optimiser (gradients are averaged before), by batch norm's running averages (averaged after each
step), by ``start_epoch`` (its result is process 0's) and by what ``forward`` and ``after_step``
write, which gather it from all processes. So every copy is equal, and process 0's checkpoint is
everyone's. (DistributedDataParallel would not do: methods call their sub-modules outside
``forward`` too, and some pass batches in which parameters have no part.)
"""

import logging
import os
import pickle
import queue
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from logging.handlers import QueueHandler
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal, Self

import torch
from torch import distributed as dist
from torch import nn
from torch.multiprocessing.spawn import ProcessException, start_processes
from torch.nn.modules.batchnorm import _BatchNorm
from tqdm import tqdm

from ..core.distributed import average, rank, spread, world_size
from ..core.errors import UserError
from .precision import pick_device

log = logging.getLogger(__name__)
Number = int | Literal["auto"]
_GRACE = 5.0  # seconds in which the others may end by themselves when one process has failed
_HEAD_START = 0.5  # seconds by which a process that was killed is seen before those it drags along


class ProcessFailed(UserError):  # noqa: N818
    """One of several processes ended by itself; the message says which and how."""


class StopRequest:
    """Turn SIGINT and SIGTERM into a flag that the loop reads between two steps.

    A signal in the middle of a step would leave a method half updated. The first signal sets
    :attr:`requested`; a second one acts at once, as without this class. Python delivers signals
    only in the main thread: in others nothing is changed.
    """

    def __init__(self) -> None:
        self.requested: int | None = None
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous.clear()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Let signals act at once: for work that leaves nothing half done and is done again."""
        self.__exit__()
        try:
            yield
        finally:
            self.__enter__()

    def _receive(self, number: int, _: object) -> None:
        self.requested = number
        self.__exit__()
        name = signal.Signals(number).name
        log.warning("%s: stopping after this step; a second signal stops at once", name)

    def end(self, number: int) -> None:
        """Raise what a signal, received here or in another process, would have raised."""
        raise SystemExit(128 + number) if number == signal.SIGTERM else KeyboardInterrupt


def number_of_processes(asked: Number, device: str) -> int:
    """Return how many processes to train in; "auto": one per GPU, and 1 on other devices.

    Raises:
        UserError: More processes than GPUs, or several on a device that cannot have several.
    """
    kind = pick_device(device).type
    most = {"cuda": torch.cuda.device_count(), "mps": 1}.get(kind)
    if asked == "auto":
        return most or 1
    if asked < 1 or (most is not None and asked > most):
        raise UserError(
            f"processes={asked} must be at least 1"
            + (f" and need one GPU each, of which there are {most} on {kind}" if most else "")
            + "; choose another number, or 'auto'"
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

    The function is one that a module can be asked for by name; its arguments travel by pickle. On
    CUDA each process has its own GPU.

    Raises:
        ProcessFailed: A process was killed, or its error cannot travel.
        Exception: What the function raised, with the traceback of its process as cause; after a
            signal, what the signal raises.
    """
    records, ended = get_context("spawn").Queue(), threading.Event()
    listener = threading.Thread(target=_log_here, args=(records, ended), daemon=True)
    with tempfile.TemporaryDirectory() as name, StopRequest() as stop:
        place = Path(name)
        task = (count, place, records, device, function, arguments)
        context = start_processes(_work, task, count, join=False, daemon=True)
        listener.start()
        waiting = list(context.processes)
        try:
            while not context.join(timeout=0.2, grace_period=_GRACE):
                while stop.requested and waiting:  # each is told once
                    waiting.pop().terminate()
        except ProcessException as failure:
            if not stop.requested:
                codes = [process.exitcode for process in context.processes]
                raise _error(place, failure.error_index, codes) from failure
        finally:
            for process, file in zip(context.processes, context.error_files, strict=True):
                process.kill()
                process.join()
                Path(file).unlink(missing_ok=True)
            ended.set()
            listener.join(timeout=_GRACE)
        if stop.requested:
            stop.end(stop.requested)


def _error(place: Path, rank: int, codes: Sequence[int | None]) -> Exception:
    """Return what was raised first if process ``rank`` raised, else which process ended how."""
    if (place / f"error{rank}").is_file():
        first = min(place.glob("error*"), key=lambda file: file.stat().st_mtime_ns)
        return pickle.loads(first.read_bytes())
    ends = [
        f"process {number} of {len(codes)} "
        + (f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}")
        for number, code in enumerate(codes)
        if code
    ]
    return ProcessFailed(
        f"training {' and '.join(ends)}; start the same run again: it goes on from the last "
        "checkpoint"
    )


def _log_here(records: Any, ended: threading.Event) -> None:
    """Hand what other processes log to the loggers here.

    (A killed process may hold the queue's lock: waiting for a QueueListener would then not end.)
    """
    while not (ended.is_set() and records.empty()):
        with suppress(queue.Empty):
            record = records.get(timeout=0.2)
            logger = logging.getLogger(record.name)
            if logger.isEnabledFor(record.levelno):
                logger.handle(record)


def _work(
    rank: int, count: int, place: Path, records: Any, device: str,
    function: Callable[..., None], arguments: Sequence[Any],
) -> None:  # fmt: skip
    """Live as one of the processes; torch sends SIGINT when the one that started it is gone."""
    if hasattr(os, "setsid"):
        os.setsid()  # Ctrl-C reaches the parent alone, which passes it on once
    tqdm.set_lock(threading.RLock())  # its own is a semaphore, which a killed process leaves behind
    logging.root.setLevel(logging.INFO if rank == 0 else logging.WARNING)
    logging.root.addHandler(QueueHandler(records))
    log.setLevel(logging.ERROR)  # that it stops is said by the parent
    on_gpu = pick_device(device).type == "cuda"
    if on_gpu:
        torch.cuda.set_device(rank)
    else:
        torch.set_num_threads(max(1, torch.get_num_threads() // count))
    dist.init_process_group(
        "nccl" if on_gpu else "gloo", init_method=(place / "store").as_uri(), rank=rank,
        world_size=count, device_id=torch.device("cuda", rank) if on_gpu else None,
    )  # fmt: skip
    try:
        function(*arguments)
    except (KeyboardInterrupt, SystemExit) as stopped:
        dist.barrier()  # process 0 may still be writing its checkpoint
        raise SystemExit(getattr(stopped, "code", 128 + signal.SIGINT)) from None
    except Exception as error:
        with suppress(Exception):  # what cannot travel: its traceback does
            portable = pickle.dumps(error)
            pickle.loads(portable)
            (place / f"error{rank}").write_bytes(portable)
        if not isinstance(error, UserError):
            time.sleep(_HEAD_START)
        raise
    dist.destroy_process_group()


class Replicas:
    """The copies of a method, seen from one process, which may be alone.

    ``sync_batch_norm``, on CUDA only, normalises by the clips of all processes.
    """

    def __init__(self, method: nn.Module, *, sync_batch_norm: bool, device: torch.device) -> None:
        self.count, self.is_first = world_size(), rank() == 0
        # what the names of this process's own streams of randomness have at their end
        self.own = () if self.is_first else ("process", rank())
        if self.count > 1 and sync_batch_norm and device.type == "cuda":
            method = nn.SyncBatchNorm.convert_sync_batchnorm(method)
        self.method = method
        self._trained = [p for p in method.parameters() if p.requires_grad]
        self.running = [  # averages of batch norm that saw one process's clips only
            average
            for module in method.modules()
            if isinstance(module, _BatchNorm) and not isinstance(module, nn.SyncBatchNorm)
            for average in (module.running_mean, module.running_var)
            if average is not None
        ]
        # Decisions are made on the host: over NCCL each would wait for the GPU.
        self._hosts = dist.new_group(backend="gloo") if self.count > 1 else None

    def synchronise(self) -> None:
        """Give every copy the parameters and buffers of process 0's."""
        spread([*self.method.parameters(), *self.method.buffers()])

    def average_gradients(self) -> None:
        """Average gradients over processes; where a parameter had no part in a batch, it has zero.

        (Alone too, to train the same; besides, fused sgd fails where a gradient first comes late.)
        """
        for parameter in self._trained:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        average(parameter.grad for parameter in self._trained if parameter.grad is not None)

    def largest(self, *numbers: int) -> list[int]:
        """Return the largest of each number over all processes, without waiting for the device."""
        if self._hosts is None:
            return [int(number) for number in numbers]
        agreed = torch.tensor(numbers)
        dist.all_reduce(agreed, dist.ReduceOp.MAX, group=self._hosts)
        return [int(number) for number in agreed]

    def close(self) -> None:
        """Leave the hosts' group; the process group itself is its maker's."""
        if self._hosts is not None:
            dist.destroy_process_group(self._hosts)
        self._hosts = None  # its end waits for the other processes
