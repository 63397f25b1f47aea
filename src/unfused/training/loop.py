"""The one training loop, for every method."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from itertools import pairwise
from math import isfinite
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from ..core.distributed import average, join_rows
from ..core.errors import UserError
from ..core.outputs import mark_of, shown
from ..core.progress import progress
from ..core.seeding import derive_seed
from ..methods.method import Method
from ..views.make_views import ViewMaker
from ..views.view import View
from .batches import CropSource
from .checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from .graphed import Graphed
from .history import Meter, MetricsFile, signs_of_collapse, warn_of_collapse
from .optimisers import create, learning_rate
from .precision import autocast, keep_freed_memory, pick_device, pick_precision
from .processes import Replicas, StopRequest
from .settings import TrainingSettings

log = logging.getLogger(__name__)
Views = tuple[View, ...]


class TrainingDiverged(UserError):  # noqa: N818
    """The loss is no longer a finite number."""


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

    A run that was stopped anywhere and is started again with the same arguments ends on a CPU with
    the same weights, bit for bit, as one that never stopped. So every random number is a function
    of (seed, step); torch's global generator is re-seeded before each step, and not put back.

    In a process group (one process per device) all processes call this with the same arguments;
    together they train on the batches that one process would get, each on its part
    (:mod:`.processes`). Process 0 writes the files. The checkpoint is good for any number of them.

    The method is trained in place, moved to the device, and left there in evaluation mode. The
    folder gets ``checkpoint.pt``, ``metrics.jsonl``, and ``live.html``, a page of the curves so
    far. ``epoch_end`` is called, in every process, with the epoch's number after its last step and
    before the checkpoint, so after a crash maybe again. True, of every process, ends the training.

    Returns:
        One row per ``log_every`` steps with step, epoch, clips, loss, learning_rate,
        clips_per_second and the method's metrics, all means over the row's steps.
        ``attrs["collapsed"]`` tells whether the embedding has collapsed at the end.

    Raises:
        TrainingDiverged: The loss is not finite.
        CheckpointError: The folder holds a checkpoint of another run, or a damaged one.
        UserError: Source, method and settings do not fit together.
        OSError: The folder cannot be written.
    """
    run = Training(method, source, views, settings, Path(folder), seed, pick_device(device), title)
    try:
        run.resume()
        words: dict[str, Any] = {"desc": type(method).__name__, "unit": "step"}
        bar = progress(total=run.total, initial=run.step, quiet=not run.replicas.is_first, **words)
        with StopRequest() as stop, bar:
            while run.step < run.total:
                epoch, index = divmod(run.step, source.steps_per_epoch)
                if index == 0:
                    with stop.paused() if run.replicas.count == 1 else nullcontext():
                        run.start_epoch(epoch)
                loss = run.train_step()
                bar.update()
                last = run.step == run.total
                if last or run.step % settings.log_every == 0:
                    bar.set_postfix(loss=f"{run.log_row():.4g}", refresh=False)
                if epoch_end is not None and (last or run.step % source.steps_per_epoch == 0):
                    method.eval()
                    if epoch_end(epoch):  # the checkpoint remembers that this is the last step
                        if run.logged_step < run.step:
                            run.log_row()
                        run.total, last = run.step, True
                # by process 0's clock, and by the signal that any process got
                old = time.monotonic() - run.saved >= settings.checkpoint_seconds
                mine = (run.replicas.is_first and old, stop.requested or 0)
                due, asked = run.replicas.largest(*mine)
                if last or asked or due:
                    run.save(loss)
                if asked:
                    stop.end(asked)
        return run.finish()
    finally:
        run.close()


class Training:
    """State of one call of :func:`fit`, whose arguments it takes.

    Everything in it but :attr:`step` is rebuilt from them. Nothing in a step waits for the device
    (but with lars in float16, whose step the host can only leave out if it knows of the overflow).
    """

    def __init__(
        self, method: Method, source: CropSource, views: ViewMaker, settings: TrainingSettings,
        folder: Path, seed: int, device: torch.device, title: str = "",
    ) -> None:  # fmt: skip
        _check_fit(method, source, settings)
        if device.type == "cpu":
            keep_freed_memory()
        self.method, self.source, self.views = method.to(device), source, views.to(device)
        self.settings, self.folder, self.seed, self.device = settings, folder, seed, device
        self.name = type(method).__name__ + (f" ({title})" if title else "")
        if settings.channels_last:
            method.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.dtype = pick_precision(settings.precision, device)
        self.replicas = Replicas(method, sync_batch_norm=settings.sync_batch_norm, device=device)
        self.forward = torch.compile(method) if settings.compile else method
        self.optimiser = create(
            settings.optimiser, method.parameters(),
            lr=settings.learning_rate, bias_lr=settings.bias_learning_rate,
            momentum=settings.momentum, weight_decay=settings.weight_decay,
        )  # fmt: skip
        # Float16 has no room for small gradients; off, it passes everything through.
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.dtype == torch.float16)
        self.generator = torch.Generator(device)
        self.update: Callable[..., dict[str, Tensor]] = self._update
        self.step, self.total = 0, settings.total_steps(source.n_clips)
        self.meter, self.file = Meter(device), MetricsFile(folder / "metrics.jsonl", self.name)
        self.mark = mark_of(  # all that decides the trained weights
            method=type(method).__name__,
            shapes={name: list(value.shape) for name, value in method.state_dict().items()},
            source=[source.rows, source.lengths, source.crop_frames, source.seed],
            views=repr(views),
            settings=settings,
            seed=seed,
        )
        self.saved = self._logged = self._started = time.monotonic()
        self._first = self.logged_step = 0

    def resume(self) -> None:
        """Load the checkpoint if there is one, and cut the metrics back to it."""
        saved = load_checkpoint(self.folder / "checkpoint.pt", self.mark, self.device)
        if saved is not None:
            self.step, self.total = saved["step"], saved["total"]
            for name, part in self._parts().items():
                part.load_state_dict(saved[name])
        highest, lowest = self.replicas.largest(self.step, -self.step)
        if highest != -lowest:
            raise CheckpointError(
                f"the processes stand at steps {-lowest} to {highest}: {self.folder} must be a "
                "folder that all of them see"
            )
        self.replicas.synchronise()
        self._record()
        self._first = self.logged_step = self.step
        if not self.replicas.is_first:
            return
        self.file.begin(None if saved is None else saved["metrics"])
        source, count = self.source, self.replicas.count
        log.info(
            "%s %s: %d steps of %d clips (%.1f epochs of %d clips) on %s in %s%s; curves: %s",
            "training" if saved is None else f"resuming at step {self.step},",
            *(self.name, self.total, source.clips_per_step, self.total / source.steps_per_epoch),
            *(source.n_clips, self.device, str(self.dtype).removeprefix("torch.")),
            f", {count} processes" if count > 1 else "",
            shown(self.file.page),
        )

    def start_epoch(self, epoch: int) -> None:
        """Let the method prepare an epoch (DECAR's prototypes)."""
        torch.manual_seed(derive_seed(self.seed, "epoch", epoch))

        @torch.no_grad()
        def embed(function: Callable[[Views], Tensor]) -> Tensor:
            self.method.eval()
            rows, clips = [], []
            for clip_ids, crops in self.source.sweep("embed", epoch):
                plain = self.views.plain(_on_device(crops, self.device))
                with autocast(self.device, self.dtype):
                    rows.append(function((plain,) * self.method.n_views).float())
                clips.append(clip_ids)
            return join_rows(torch.cat(rows), torch.cat(clips), self.source.n_clips)

        self.meter.add(self.method.start_epoch(epoch, embed, self.seed))
        self.replicas.synchronise()

    def train_step(self) -> Tensor:
        """Do one step and return its loss."""
        step, own = self.step, self.replicas.own
        self.method.train()
        torch.manual_seed(derive_seed(self.seed, "model", step, *own))
        self.generator.manual_seed(derive_seed(self.seed, "views", step, *own))
        for group in self.optimiser.param_groups:
            rate = self.learning_rate(step, group["peak"])
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate
        self.method.progress = (step + 1) / self.total
        clip_ids, crops = self.source.batch(step)
        metrics = self.update(clip_ids.to(self.device), *_on_device(crops, self.device))
        self.meter.add(metrics)
        self.step = step + 1
        return metrics["loss"]

    def _update(self, clip_ids: Tensor, log_mel: Tensor, spans: Tensor) -> dict[str, Tensor]:
        """Change the method by one batch of crops and return the metrics."""
        method, crops = self.method, View(log_mel, spans)
        views = self.views(crops, method.n_views, self.generator, method.n_crops)
        if self.settings.channels_last and self.device.type == "cuda":
            views = tuple(map(channels_last, views))
        self.optimiser.zero_grad(set_to_none=True)
        metrics = self._backward(views, clip_ids)
        self.replicas.average_gradients()
        if self.settings.gradient_clip is not None:
            self.scaler.unscale_(self.optimiser)
            nn.utils.clip_grad_norm_(method.parameters(), self.settings.gradient_clip)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        average(self.replicas.running)
        method.after_step(self.step)
        return metrics

    def _record(self) -> None:
        """Let a GPU repeat the step by itself, where nothing but tensors changes from step to step.

        Not float16, whose step may be left out, nor several processes, which wait for each other.
        """
        able = self.device.type == "cuda" and self.replicas.count == 1
        wanted = self.settings.cuda_graph and self.method.graphable
        recorded = able and wanted and self.dtype != torch.float16
        for group in self.optimiser.param_groups:  # a checkpoint may come from another device
            group["lr"] = torch.zeros((), device=self.device) if recorded else 0.0
            group["capturable"] = recorded
        self.update = Graphed(self._update, self.generator) if recorded else self._update

    def _backward(self, views: Views, clip_ids: Tensor) -> dict[str, Tensor]:
        """Fill the gradients and return the metrics, both means over the micro-batches."""
        means: dict[str, Tensor] = {}
        for share, part, ids in micro_batches(views, clip_ids, self.settings.accumulate):
            with autocast(self.device, self.dtype):
                loss, metrics = self.forward(part, ids)
            self.scaler.scale(loss * share).backward()
            for name, value in {**metrics, "loss": loss.detach()}.items():
                means[name] = means[name] + share * value if name in means else share * value
        return means

    def learning_rate(self, step: int, peak: float) -> float:
        """Return a step's learning rate."""
        warmup = round(self.settings.warmup * self.total)
        return learning_rate(step, self.total, warmup, peak, self.settings.schedule)

    def log_row(self) -> float:
        """Write a row of metrics and return its mean loss."""
        means, now = self.meter.means(), time.monotonic()
        loss, per_step = self._finite(means.pop("loss")), self.source.clips_per_step
        clips = (self.step - self.logged_step) * per_step
        row = {
            "step": self.step,
            "epoch": (self.step - 1) // self.source.steps_per_epoch,
            "clips": self.step * per_step,
            "loss": loss,
            "learning_rate": self.learning_rate(self.step - 1, self.settings.learning_rate),
            "clips_per_second": round(clips / max(now - self._logged, 1e-9), 2),
        }
        if self.replicas.is_first:
            self.file.append(row | means)
            self.file.show(self.total)
        self.meter.clear()
        self._logged, self.logged_step = time.monotonic(), self.step
        return loss

    def save(self, loss: Tensor) -> None:
        """Write a checkpoint, unless the weights are lost already."""
        mean = loss.clone()
        average([mean])
        self._finite(float(mean))
        content = {name: part.state_dict() for name, part in self._parts().items()}
        if self.replicas.is_first:
            content |= {"step": self.step, "total": self.total, "metrics": self.file.facts}
            save_checkpoint(self.folder / "checkpoint.pt", self.mark, content)
        self.saved = time.monotonic()

    def _parts(self) -> dict[str, Any]:
        """Return what has a state, apart from the step."""
        names = ("method", "views", "meter", "optimiser", "scaler")
        return {name: getattr(self, name) for name in names}

    def finish(self) -> pd.DataFrame:
        """Report the run and return its history."""
        self.method.eval()
        self.replicas.largest(0)  # waits until every process is here
        history = self.file.table()
        signs = signs_of_collapse(history, self.source.clips_per_step)
        history.attrs["collapsed"] = bool(signs)
        if self.replicas.is_first:
            seconds = time.monotonic() - self._started
            clips = (self.step - self._first) * self.source.clips_per_step
            log.info(
                "trained %s: %d clip-updates in %.0f s (%.0f clips/s), in %s",
                *(self.name, clips, seconds, clips / max(seconds, 1e-9), shown(self.folder)),
            )
            warn_of_collapse(signs)
        return history

    def close(self) -> None:
        """Leave the process group, and say on the page that no more will come."""
        if self.replicas.is_first:
            self.file.show(self.total, done=True)
        self.replicas.close()

    def _finite(self, loss: float) -> float:
        if not isfinite(loss):
            rate = self.learning_rate(self.step - 1, self.settings.learning_rate)
            raise TrainingDiverged(
                f"the loss is {loss} at step {self.step} of {self.total} with learning rate "
                f"{rate:.3g}: train with a lower learning_rate, a longer warmup or a gradient_clip "
                f"(1.0, say), or with precision='fp32' if this run's is {self.dtype}"
            )
        return loss


def micro_batches(
    views: Views, clip_ids: Tensor, accumulate: int
) -> Iterator[tuple[float, Views, Tensor]]:
    """Split a batch into nearly equal parts of at least two clips, fewer if it is too small.

    Yielded are each part's share of the batch, its views and its clips.
    """
    n_clips = len(clip_ids)
    n_parts = max(1, min(accumulate, n_clips // 2))
    for first, end in pairwise(number * n_clips // n_parts for number in range(n_parts + 1)):
        part = tuple(View(*(tensor[first:end] for tensor in view)) for view in views)
        yield (end - first) / n_clips, part, clip_ids[first:end]


def _on_device(view: View, device: torch.device) -> View:
    return View(*(part.to(device, non_blocking=True) for part in view))


def channels_last(view: View) -> View:
    """Return a view whose strides say so: those of one channel fit both orders, and cuDNN guesses.

    It would take the other order, and convert the first layer's output and its gradient.
    """
    log_mel = view.log_mel.contiguous()
    n_mels, n_frames = log_mel.shape[-2:]
    return view._replace(
        log_mel=log_mel.as_strided(log_mel.shape, (n_mels * n_frames, 1, n_frames, 1))
    )


def _check_fit(method: Method, source: CropSource, settings: TrainingSettings) -> None:
    names = {"crop_frames": method, "n_crops": method, "batch_size": settings}
    for name, other in names.items():
        whose = "method" if other is method else "settings"
        if (mine := getattr(source, name)) != (wanted := getattr(other, name)):
            raise UserError(
                f"the source has {name}={mine} and the {whose} {name}={wanted}; build the source "
                f"with {name}={wanted}"
            )
