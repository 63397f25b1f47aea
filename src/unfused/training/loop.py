"""The one training loop, for every method."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import torch

from ..methods.method import Method
from ..views.make_views import ViewMaker
from .batches import CropSource
from .interruption import StopRequest
from .precision import pick_device
from .run import TrainingDiverged, TrainingRun
from .settings import TrainingSettings

__all__ = ["TrainingDiverged", "TrainingSettings", "fit"]


def fit(
    method: Method,
    source: CropSource,
    views: ViewMaker,
    settings: TrainingSettings,
    *,
    folder: Path,
    seed: int,
    device: torch.device | str = "auto",
    epoch_end: Callable[[int], bool | None] | None = None,
    title: str = "",
) -> pd.DataFrame:
    """Train a method, or go on where a stopped run of the same training left off.

    A run that was stopped anywhere, by a signal, an exception or a power cut, and is started again
    with the same arguments ends on a CPU with the same weights, bit for bit, as one that never
    stopped. So every random number is a function of (seed, step): crops and views by their own
    generators, and what layers draw (dropout) from torch's global generator, re-seeded before each
    step. (``torch.random.fork_rng`` would keep the global state, but copies the GPU's generator to
    the host each time; so the caller's global state is not kept.)

    In a process group (``torch.distributed``, one process per device) all processes call this with
    the same arguments; together they train on the batches that one process would get, each on its
    part (:mod:`.replicas`). Process 0 writes the files. The checkpoint is good for any number of
    processes.

    Args:
        method: What is trained, in place; moved to the device, and left there in evaluation mode.
        source: Batches of crops.
        views: Makes the method's views of them.
        settings: How long and with what.
        folder: Gets ``checkpoint.pt`` and ``metrics.jsonl``.
        seed: Seed of views, dropout and the method's epoch starts.
        device: Where to compute.
        epoch_end: Called, in every process, with the epoch's number after its last step and before
            the checkpoint, so that after a crash an epoch may be reported again. True ends the
            training there, if every process returns it. Its own state is the caller's.
        title: What the log calls the training, beside the method's class.

    Returns:
        One row per ``log_every`` steps with step, epoch, clips, loss, learning_rate,
        clips_per_second and the method's metrics, all means over the row's steps.
        ``attrs["collapsed"]`` tells whether the embedding has collapsed at the end.

    Raises:
        TrainingDiverged: The loss is not finite.
        CheckpointError: The folder holds a checkpoint of another run, or a damaged one.
        ValueError: Source, method and settings do not fit together.
        OSError: The folder cannot be written.
    """
    run = TrainingRun(method, source, views, settings, Path(folder), seed, pick_device(device))
    run.title = title
    try:
        run.resume()
        with StopRequest() as stop, run.progress() as bar:
            while run.step < run.total:
                epoch, index = divmod(run.step, source.steps_per_epoch)
                if index == 0:
                    run.start_epoch(epoch)
                loss = run.train_step()
                bar.update()
                last = run.step == run.total
                if last or run.step % settings.log_every == 0:
                    bar.set_postfix(loss=f"{run.log_row(epoch):.4g}", refresh=False)
                if epoch_end is not None and (last or run.step % source.steps_per_epoch == 0):
                    method.eval()
                    if epoch_end(epoch):
                        run.end_here(epoch)
                        last = True
                due, asked = run.agree(run.checkpoint_due(), stop.requested)
                if last or asked or due:
                    run.save(loss)
                if asked:
                    stop.end(asked)
        return run.finish()
    finally:
        run.replicas.close()
