"""Training on true labels: end-to-end fine-tuning of an encoder, or supervised from scratch.

The LAPE code reports the best test epoch and has no validation part; here the epoch is chosen by
balanced accuracy (several labels: mAP) on whole validation clips, and test clips are met once.
"""

from __future__ import annotations

import logging
import math
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..core.outputs import mark_of
from ..core.seeding import derive_seed
from ..embeddings.embedder import EncoderEmbedder
from ..embeddings.read_out import ReadOut
from ..encoders.trained import TrainedEncoder
from ..methods.supervised import Supervised
from ..scores.intervals import interval
from ..tasks.corpus import Corpus
from ..tasks.label_kinds import MULTI_LABEL
from ..training.checkpoint import load_checkpoint, save_checkpoint
from ..training.estimator import crop_source
from ..training.loop import fit
from ..training.precision import pick_device
from ..views.make_views import ViewMaker
from .calibration import Calibration, calibrate
from .head import Head
from .linear_models import Linear, Standardised
from .probe import NOTHING, VALIDATION, Probe
from .results import prediction_table, score_labels
from .settings import FineTuningSettings

log = logging.getLogger(__name__)


class FineTuned(NamedTuple):
    """An encoder, on the CPU and with its own pooling, and a classifier, both trained on labels.

    ``epoch`` was chosen by its score on validation, which has a standard error; without such clips
    it is None, the last, and both are NaN. ``history`` has metrics, and ``validation_score``.
    """

    embedder: EncoderEmbedder
    head: Head
    epoch: int | None
    validation: float
    validation_error: float
    history: pd.DataFrame


def fine_tune(
    source: TrainedEncoder,
    train: Corpus,
    valid: Corpus | None,
    settings: FineTuningSettings,
    *,
    folder: str | Path,
    seed: int,
    device: torch.device | str = "auto",
    title: str = "",
) -> FineTuned:
    """Train a copy of an encoder and a linear classifier on labelled clips.

    The encoder is trained (fine-tuning) or randomly initialised (from scratch, ``head="random"``).
    Without validation clips the last epoch is taken. ``folder`` receives checkpoint, metrics and
    ``best.pt``: interrupted and called again with the same arguments, it goes on from there;
    finished, it only loads the result.

    Raises:
        UserError: Fewer than 2 classes or clips to train on.
        CheckpointError: ``folder`` holds another training.
    """
    validated = valid if valid is not None and len(valid) else None
    network = _Network(source, train, validated, settings, seed, pick_device(device))
    history, best = _train(network, Path(folder), title)
    network.method.cpu().eval().requires_grad_(False)
    made = {
        "protocol": "fine_tuning",
        "setting": "last epoch" if best.epoch is None else f"epoch {best.epoch + 1}",
        "chosen_by": train.kind.chosen_by,
        "chosen_on": NOTHING if validated is None else VALIDATION,
    }
    linear = network.standardised()
    calibration, error = network.judged(linear)
    head = Head(network.classes, train.kind, linear, calibration, made)
    facts = {**source.provenance, "fine_tuning": {"seed": seed, "epoch": best.epoch}}
    return FineTuned(network.embedder(facts), head, best.epoch, best.score, error, history)


@dataclass
class _Network:
    """What is trained: an encoder with a linear classifier on its own pooling."""

    source: TrainedEncoder
    train: Corpus
    valid: Corpus | None
    settings: FineTuningSettings
    seed: int
    device: torch.device

    def __post_init__(self) -> None:
        kind = self.train.kind
        self.classes = kind.classes(self.train.labels)
        self.targets = kind.targets(self.train.labels, self.classes)
        names = ("dropout", "label_smoothing", "mixup_alpha", "crop_frames")
        how = {name: getattr(self.settings, name) for name in names}
        how |= {"n_classes": len(self.classes), "head": self._first_head()}
        encoder = deepcopy(self.source.encoder).requires_grad_(True)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(self.seed, "classifier"))
            self.method = Supervised(encoder, labels=torch.from_numpy(self.targets), **how)

    def mark(self) -> str:
        """Return a hash of what decides the result."""
        weights = self.source.encoder.state_dict().items()
        clips = [self.train, *([self.valid] if self.valid is not None else [])]
        return mark_of(
            encoder={key: tensor.cpu().numpy() for key, tensor in weights},
            normalisation=[self.source.mean, self.source.std],
            clips=[[part.clips["clip_id"], part.labels] for part in clips],
            settings=self.settings,
            seed=self.seed,
        )

    def embedder(self, provenance: dict[str, Any] | None = None) -> EncoderEmbedder:
        encoder = self.method.encoder
        return _pooled(replace(self.source, encoder=encoder, provenance=provenance or {}))

    def weights(self) -> list[NDArray[np.float32]]:
        """Return the classifier's weight, (C, D), and bias, (C,)."""
        parameters = self.method.classifier.parameters()
        return [item.detach().cpu().numpy().copy() for item in parameters]

    def standardised(self) -> Linear:
        """Return the classifier on the scale of the training clips, with their centres."""
        weight, bias = self.weights()
        vectors = self.embedder().embed(self.train, device=self.device)
        data = Standardised(vectors, self.targets, len(self.classes))
        return data.linear(weight * data.scale, bias + weight @ data.mean)

    def score(self) -> float:
        """Return how good it is on the validation clips."""
        assert self.valid is not None
        weight, bias = self.weights()
        logits = self.embedder().embed(self.valid, device=self.device) @ weight.T + bias
        return score_labels(logits, self.classes, self.valid.kind, self.valid.labels)

    def judged(self, linear: Linear) -> tuple[Calibration, float]:
        """Return what these clips say of how sure to be, and the standard error of the score."""
        if self.valid is None:
            return calibrate(np.empty(0), None, None, None, len(self.classes)), math.nan
        vectors = self.embedder().embed(self.valid, device=self.device)
        kind, labels, logits = self.valid.kind, self.valid.labels, linear.logits(vectors)
        ids = self.valid.clips["clip_id"].to_numpy()
        how: dict[str, Any] = {"labels": labels, "clip_ids": ids, "groups": self.valid.groups}
        rows = prediction_table(logits, self.classes, kind, **how)
        error = interval(rows, kind.chosen_by).standard_error
        known = np.isin(labels, self.classes) | (kind is MULTI_LABEL)
        targets = kind.targets(labels[known], self.classes)
        far = linear.distances(vectors[known])
        return calibrate(targets, logits[known], far, None, len(self.classes)), error

    def _first_head(self) -> tuple[Tensor, Tensor] | None:
        """Return weight and bias of a probe on the training clips; None: start at random."""
        state = self.source.encoder.state_dict().items()
        unseen = any("batches_tracked" in key and int(n) == 0 for key, n in state)
        if self.settings.head == "random" or unseen:
            return None
        vectors, train = _pooled(self.source).embed(self.train, device=self.device), self.train
        probe = Probe(lda=False, kind=train.kind)  # its loss is the one that training goes on with
        probe.fit(vectors, train.labels, groups=train.groups)
        linear, temperature = probe.all_, probe.calibration_.temperature
        weight = linear.weight / linear.scale
        bias = linear.bias - weight @ linear.mean
        return torch.from_numpy(weight / temperature), torch.from_numpy(bias / temperature)


def _pooled(trained: TrainedEncoder) -> EncoderEmbedder:
    """Return an encoder with its own pooling as read-out."""
    encoder = trained.encoder
    return EncoderEmbedder(trained, ReadOut((encoder.cut,), (encoder.pooling,)))


class _BestEpoch:
    """Scores a network after some epochs and keeps its best weights, the earlier ones on a tie.

    It may be told an epoch twice, as happens when a run is resumed.
    """

    def __init__(self, network: _Network, n_epochs: int, file: Path) -> None:
        self.network, self.n_epochs = network, n_epochs
        self._file, self._mark = file, network.mark()
        kept = load_checkpoint(file, self._mark, "cpu") or {"scores": {}, "state": None}
        self.scores: dict[int, float] = kept["scores"]
        self._state: dict[str, Tensor] | None = kept["state"]
        if not file.exists():  # claims the folder for this training
            save_checkpoint(file, self._mark, kept)

    @property
    def epoch(self) -> int | None:
        """The best epoch so far, if any was scored."""
        return max(self.scores, key=lambda e: (self.scores[e], -e), default=None)

    @property
    def score(self) -> float:
        """Its score, else NaN."""
        return max(self.scores.values(), default=math.nan)

    def __call__(self, epoch: int) -> bool:
        """Score the network after ``epoch``; return whether no later one is waited for."""
        settings = self.network.settings
        due = (epoch + 1) % settings.validate_every == 0 or epoch + 1 == self.n_epochs
        if self.network.valid is None or not due:
            return False
        self.scores[epoch] = self.network.score()
        if self.epoch == epoch:
            self._state = deepcopy(self.network.method.state_dict())
        save_checkpoint(self._file, self._mark, {"scores": self.scores, "state": self._state})
        since = sum(scored > (self.epoch or 0) for scored in self.scores)
        return self.score == 1 or (settings.patience is not None and since >= settings.patience)

    def restore(self) -> None:
        """Give the network the weights of the best epoch; without validation, leave the last."""
        if self._state is not None:
            self.network.method.load_state_dict(self._state)
            log.info("best after epoch %d: %.3f on validation", (self.epoch or 0) + 1, self.score)


def _train(network: _Network, folder: Path, title: str) -> tuple[pd.DataFrame, _BestEpoch]:
    """Train in place, up to the best epoch; return the metrics."""
    settings, source, train = network.settings, network.source, network.train
    given = {**settings.views, "clip_normalisation": source.clip_normalisation}
    given |= {"mean": source.mean, "std": source.std, "n_mels": train.store.front_end.n_mels}
    views = ViewMaker(crop_frames=settings.crop_frames, **given)
    training, seed, device = settings.training, network.seed, network.device
    with crop_source(train, network.method, training, seed, device) as crops:
        n_epochs = math.ceil(training.total_steps(crops.n_clips) / crops.steps_per_epoch)
        best = _BestEpoch(network, n_epochs, folder / "best.pt")
        how: dict[str, Any] = {"epoch_end": best, "title": title, "seed": seed, "device": device}
        history = fit(network.method, crops, views, training, folder=folder, **how)
        best.restore()
        if best.scores:
            pairs = sorted(best.scores.items())
            found = pd.DataFrame(pairs, columns=["epoch", "validation_score"])
            steps = (found["epoch"] + 1) * crops.steps_per_epoch
            found = found.assign(step=steps.clip(upper=history["step"].max()))
            history = history.merge(found, on=["step", "epoch"], how="outer", sort=True)
    return history, best
