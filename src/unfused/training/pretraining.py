"""Pre-train one encoder without labels: method, views and loop put together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from .. import encoders, methods
from ..core.distributed import rank
from ..core.seeding import derive_seed
from ..encoders.encoder import Encoder
from ..encoders.trained import TrainedEncoder, provenance, save_encoder
from ..methods.method import Method
from ..tasks.training_set import TrainingSet
from ..views.make_views import ViewMaker
from .batches import CropSource
from .checkpoint import drop_checkpoint
from .history import save_history
from .loop import TrainingSettings, fit
from .precision import pick_device
from .processes import Number, in_processes, number_of_processes


@dataclass(frozen=True)
class Recipe:
    """How to train, apart from the data.

    Attributes:
        encoder: Registered name of the encoder.
        encoder_settings: Its constructor's arguments.
        method: Registered name of the method.
        method_settings: Its hyper-parameters.
        views: Arguments of :class:`~unfused.views.make_views.ViewMaker`.
        training: Length, optimiser and precision.
    """

    encoder: str
    encoder_settings: Mapping[str, Any]
    training: TrainingSettings
    method: str = ""
    method_settings: Mapping[str, Any] = field(default_factory=dict)
    views: Mapping[str, Any] = field(default_factory=dict)


def random_encoder(name: str, settings: Mapping[str, Any], seed: int) -> Encoder:
    """Return an encoder with the weights that training with this seed starts from."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "encoder"))
        return encoders.create(name, **settings)


def untrained_like(
    trained: TrainedEncoder, name: str, settings: Mapping[str, Any], seed: int
) -> TrainedEncoder:
    """Return a random encoder with the front-end and normalisation of a trained one."""
    facts = provenance(method="random_init", seed=seed, parameters=dict(settings))
    encoder = random_encoder(name, settings, seed).eval()
    return TrainedEncoder(encoder, name, trained.front_end, trained.mean, trained.std, facts)


def pretrain(
    folder: Path,
    data: TrainingSet,
    recipe: Recipe,
    *,
    seed: int,
    fold: int,
    device: str = "auto",
    processes: Number = 1,
) -> None:
    """Pre-train an encoder, resuming what ``folder`` holds, and save it there.

    Args:
        folder: Receives checkpoint, metrics, ``history.parquet`` and the encoder.
        data: What to train on.
        recipe: How.
        seed: Seed of everything random.
        fold: The held-out fold, for the record.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        processes: In how many processes, one per GPU; "auto": as many as there are GPUs.

    Raises:
        ValueError: More processes than there are GPUs, or than can share a batch.
        ProcessFailed: One of several processes was killed.
    """
    arguments = (folder, data, recipe, seed, fold, device)
    count = number_of_processes(processes, device)
    if count > 1:
        in_processes(_pretrain, arguments, count=count, device=device)
    else:
        _pretrain(*arguments)


def _pretrain(
    folder: Path, data: TrainingSet, recipe: Recipe, seed: int, fold: int, device: str
) -> None:
    encoder = random_encoder(recipe.encoder, recipe.encoder_settings, seed)
    torch.manual_seed(derive_seed(seed, "method"))
    method = methods.create(
        recipe.method, encoder, n_clips=len(data.clips), **recipe.method_settings
    )
    views = view_maker(data, recipe.views, method.crop_frames)
    with crop_source(data, method, recipe.training, seed, device) as source:
        history = fit(
            method, source, views, recipe.training,
            folder=folder, seed=seed, device=device, title=f"seed {seed}, fold {fold}",
        )  # fmt: skip
    if rank() != 0:
        return
    facts = provenance(method=recipe.method, seed=seed, fold=fold, parameters=_parameters(recipe))
    projector = getattr(method, "projector", None)
    trained = data.trained(method.encoder, recipe.encoder, facts, projector)
    save_encoder(folder, trained, data.clips)
    save_history(folder, history)
    drop_checkpoint(folder)


def crop_source(
    data: TrainingSet, method: Method, training: TrainingSettings, seed: int, device: str
) -> CropSource:
    """Return the batches of a training set for a method."""
    return CropSource(
        data.store,
        data.rows,
        crop_frames=method.crop_frames,
        n_crops=method.n_crops,
        batch_size=training.batch_size,
        seed=seed,
        device=pick_device(device),
    )


def view_maker(data: TrainingSet, views: Mapping[str, Any], crop_frames: int) -> ViewMaker:
    """Return the augmentations of a training set."""
    centroids = data.k_mix_centroids
    return ViewMaker(
        mean=data.mean,
        std=data.std,
        n_mels=data.store.front_end.n_mels,
        crop_frames=crop_frames,
        k_mix_centroids=None if centroids is None else torch.from_numpy(centroids),
        **views,
    )


def _parameters(recipe: Recipe) -> dict[str, Any]:
    return {
        "encoder": dict(recipe.encoder_settings),
        "method": dict(recipe.method_settings),
        "views": dict(recipe.views),
        "training": vars(recipe.training),
    }
