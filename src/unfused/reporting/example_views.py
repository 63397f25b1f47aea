"""What the training views make of a few clips, step by step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ..core.seeding import torch_generator
from ..data.store import LogMelStore
from ..views.make_views import ViewMaker
from ..views.view import View

_FRAMES = 96


def example_views(
    store: LogMelStore,
    clips: pd.DataFrame,
    *,
    mean: float,
    std: float,
    centroids: np.ndarray,
    views: Mapping[str, Any],
    n_examples: int = 4,
    seed: int = 0,
) -> dict[str, dict[str, np.ndarray]]:
    """Return the steps from crop to views for clips of different classes.

    Args:
        store: Log-mels.
        clips: Training clips, columns clip_id and label.
        mean: Mean of the training log-mels.
        std: Their standard deviation.
        centroids: Centroids of k-mix, (K, F), for views that use it.
        views: Arguments of :class:`~unfused.views.make_views.ViewMaker`.
        n_examples: How many clips.
        seed: Which clips, crops and views.

    Returns:
        Name of the example -> step ("log-mel crop", "mixup" or "k-mix", "view A", "view B") ->
        normalised log-mel, (F, T).
    """
    shuffled = clips.sample(frac=1, random_state=seed)
    chosen = shuffled.drop_duplicates("label").head(n_examples)
    makers = _makers(store, mean, std, {**views, "k_mix_centroids": torch.from_numpy(centroids)})
    batch = _crops(store, chosen["clip_id"].to_numpy())
    background = _crops(store, shuffled["clip_id"].tail(views.get("mixup_bank", 64)).to_numpy())
    for maker in makers:
        maker(background, 0, torch_generator(seed, "bank"))  # no view: it only fills the bank
    mixed = makers[0](batch, 1, torch_generator(seed, "views"))[0]
    view_a, view_b = makers[1](batch, 2, torch_generator(seed, "views"))
    steps = {
        "log-mel crop": makers[0].normalised(batch).log_mel,
        "k-mix" if views.get("mixing") == "k_mix" else "mixup": mixed.log_mel,
        "view A": view_a.log_mel,
        "view B": view_b.log_mel,
    }
    names = [f"{index + 1}: {_shown(label)}" for index, label in enumerate(chosen["label"])]
    return {
        name: {step: _image(values, index) for step, values in steps.items()}
        for index, name in enumerate(names)
    }


def _shown(label: object) -> str:
    """Return a label, also where there is none.

    >>> _shown("bass"), _shown(float("nan")), _shown("")
    ('bass', 'no label', 'no label')
    """
    return str(label) if pd.notna(label) and label != "" else "no label"


def _makers(
    store: LogMelStore, mean: float, std: float, views: Mapping[str, Any]
) -> tuple[ViewMaker, ViewMaker]:
    """Return the views without the crop, to show mixup alone, and as they are."""
    shape = {"n_mels": store.front_end.n_mels, "crop_frames": _FRAMES, "mean": mean, "std": std}
    still = {"freq_scale": (1.0, 1.0), "time_scale": (1.0, 1.0), "virtual_crop": (1.0, 1.0)}
    return ViewMaker(**shape, **{**views, **still}), ViewMaker(**shape, **views)  # type: ignore[arg-type]


def _crops(store: LogMelStore, clip_ids: np.ndarray) -> View:
    rows = store.rows(clip_ids)
    spare = store.n_frames[rows] - _FRAMES
    crops, spans = store.crops(rows, spare // 2, _FRAMES)
    return View(crops.float().transpose(1, 2).unsqueeze(1), torch.as_tensor(spans))


def _image(values: Tensor, index: int) -> np.ndarray:
    return values[index, 0].numpy()
