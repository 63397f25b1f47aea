"""What fine-tuning returns: an encoder with a classifier that takes whole clips."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn

from ..data.store import LogMelStore
from ..embeddings.embed import embed_clips
from ..encoders.trained import TrainedEncoder
from ..tasks.label_kinds import LabelKind


@dataclass
class FineTuned:
    """An encoder with a classifier, both trained on labels.

    Attributes:
        trained: The encoder, on the CPU.
        classifier: Linear layer on its embedding.
        classes: Class names in the order of the logits, (C,).
        kind: Whether a label is one class or a set of classes.
        epoch: The epoch chosen on validation; None: the last, because there were no such clips.
        score: Its balanced accuracy (several labels: mAP) on validation.
        history: The training's metrics, and ``validation_score`` at the end of epochs.
        validation: The same score after each validated epoch, columns epoch and score.
    """

    trained: TrainedEncoder
    classifier: nn.Linear
    classes: NDArray[np.str_]
    kind: LabelKind
    epoch: int | None
    score: float | None
    history: pd.DataFrame
    validation: pd.DataFrame

    def logits(
        self,
        store: LogMelStore,
        rows: NDArray[np.int64],
        *,
        device: torch.device | str = "cpu",
        **protocol: Any,
    ) -> NDArray[np.float32]:
        """Return the logits of clips, (N, C).

        Args:
            store: Log-mels.
            rows: Which clips, (N,).
            device: Where to embed.
            **protocol: Options of :func:`embed_clips`; whole clips by default.
        """
        return clip_logits(self.trained, self.classifier, store, rows, device, **protocol)

    def predict(
        self, store: LogMelStore, rows: NDArray[np.int64], **options: Any
    ) -> NDArray[np.str_]:
        """Return each clip's class, or set of classes, (N,); options as for :meth:`logits`."""
        return self.kind.predicted(self.logits(store, rows, **options), self.classes)


def clip_logits(
    trained: TrainedEncoder,
    classifier: nn.Linear,
    store: LogMelStore,
    rows: NDArray[np.int64],
    device: torch.device | str,
    **protocol: Any,
) -> NDArray[np.float32]:
    """Return a linear classifier's logits on clip embeddings, (N, C)."""
    embedding = embed_clips(trained, store, rows, device=device, **protocol)[trained.encoder.cut]
    weight, bias = (tensor.detach().cpu().numpy() for tensor in classifier.parameters())
    return np.asarray(embedding @ weight.T + bias, np.float32)
