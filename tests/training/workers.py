"""What several processes do in tests; each of them imports this module, so it is a light one."""

from __future__ import annotations

import logging
import os
import signal
import time
from pathlib import Path
from typing import Any

from torch import distributed as dist

from unfused.core.distributed import rank
from unfused.training.settings import TrainingSettings

from .toy_training import Toy, settings_for
from .toy_training import train as train_toy

STEPS, WAITS = 12, ".waits"
log = logging.getLogger("unfused.a_test")


class Stopped(Toy):
    """Says that it waits in a step, until it is told to stop; or process 1 is killed in one."""

    def __init__(self, folder: Path, wait_at: int | None, kill_at: int | None) -> None:
        super().__init__()
        self.folder, self.wait_at, self.kill_at = folder, wait_at, kill_at

    def after_step(self, step: int) -> None:
        super().after_step(step)
        if step == self.kill_at and rank() == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        if step == self.wait_at:
            handler = signal.getsignal(signal.SIGTERM)
            (self.folder / f"{rank()}{WAITS}").touch()
            while signal.getsignal(signal.SIGTERM) == handler:  # it is put back by the signal
                time.sleep(0.01)


def train(folder: Path, wait_at: int | None = None, kill_at: int | None = None) -> Any:
    """Train a toy for :data:`STEPS` steps and return its weights."""
    settings = settings_for(epochs=STEPS // 2, optimiser="sgd", batch_size=8)
    return train_toy(folder, Stopped(folder, wait_at, kill_at), settings)[0].state_dict()


def fails() -> None:
    log.info("process %d starts", rank())
    dist.barrier()
    if rank() == 1:
        TrainingSettings(epochs=1, batch_size=1)
    dist.barrier()


def fails_strangely() -> None:
    raise RuntimeError(lambda: 0)  # does not pickle


def pid() -> int:
    return os.getpid()
