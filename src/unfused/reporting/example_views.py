"""What the training views make of a few clips, step by step."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch

from ..core.outputs import OutputFolder
from ..core.seeding import torch_generator
from ..data.store import LogMelStore
from ..tasks.corpus import Corpus
from ..views.make_views import ViewMaker
from ..views.view import View
from .figures import drawn
from .names import short_label

_FRAMES = 96


def example_views(
    store: LogMelStore,
    clips: pd.DataFrame,
    views: Mapping[str, Any],
    statistics: tuple[float, float],
    centroids: np.ndarray,
    *,
    n_examples: int = 4,
    seed: int = 0,
) -> dict[str, dict[str, np.ndarray]]:
    """Return the steps from crop to views for training clips of different classes.

    Views are arguments of :class:`~unfused.views.make_views.ViewMaker`; the statistics are mean and
    deviation of the training log-mels, the centroids, (K, F), those of k-mix.

    Returns:
        Name of the example -> step (``crop``, its ``partner`` and the ``mixture`` where views mix,
        ``view A``, ``view B``) -> normalised log-mel, (F, T).
    """
    mean, std = statistics
    maker = ViewMaker(
        n_mels=store.front_end.n_mels, crop_frames=_FRAMES, mean=mean, std=std,
        k_mix_centroids=torch.from_numpy(centroids), **views,
    )  # fmt: skip
    random = torch_generator(seed, "example views")
    shuffled = clips.sample(frac=1, random_state=seed)
    first = shuffled.drop_duplicates("label") if "label" in clips else shuffled
    chosen = pd.concat([first, shuffled]).drop_duplicates("clip_id").head(n_examples)
    batch = _crops(store, chosen["clip_id"].to_numpy())
    maker(_crops(store, shuffled["clip_id"].tail(256).to_numpy()), 0, random)  # fills the bank
    plain = maker.normalised(batch)
    steps, mixed, names = {"crop": plain.log_mel}, plain, [""] * len(chosen)
    if (mixup := maker.mixup) is not None:
        mixing = mixup.draw(mixup.nearest(batch), random)
        mixed = mixup.mix(plain, mixing)
        steps |= {"partner": mixup.bank[mixing.partner].unsqueeze(1), "mixture": mixed.log_mel}
        names = [f"{100 * float(share):.0f} % partner" for share in mixing.weight]
    steps |= {
        "view A": maker.augmented(mixed, random).log_mel,
        "view B": maker(batch, 1, random)[0].log_mel,
    }
    labels = chosen["label"].fillna("no label") if "label" in chosen else [""] * len(chosen)
    return {
        ", ".join(filter(None, [f"{row + 1}", short_label(label, 24), names[row]])): {
            step: images[row, 0].numpy() for step, images in steps.items()
        }
        for row, label in enumerate(labels)
    }


def drawn_examples(outputs: OutputFolder, clips: Corpus, *how: Any, **options: Any) -> bytes:
    """Return the picture of :func:`example_views` of a corpus's clips, as a PNG."""
    examples = example_views(clips.store, clips.clips, *how, **options)
    front_end = clips.store.front_end
    hop_seconds = front_end.hop / front_end.sample_rate
    return drawn(outputs, "log_mels.view_steps", examples, hop_seconds=hop_seconds)


def _crops(store: LogMelStore, clip_ids: np.ndarray) -> View:
    rows = store.rows(clip_ids)
    crops, spans = store.crops(rows, (store.n_frames[rows] - _FRAMES) // 2, _FRAMES)
    return View(crops.float().transpose(1, 2).unsqueeze(1), torch.as_tensor(spans))
