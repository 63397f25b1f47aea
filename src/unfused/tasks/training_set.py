"""What an encoder is trained on without labels: clips of a store and how they are normalised."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ..data.store import LogMelStore
from ..encoders.encoder import Encoder
from ..encoders.projector import Projector
from ..encoders.trained import TrainedEncoder


@dataclass(frozen=True)
class TrainingSet:
    """Clips of a store, with the statistics that normalise them.

    Attributes:
        store: Log-mels.
        clips: Which clips, columns corpus, clip_id and digest.
        mean: Mean of their log-mel values.
        std: Standard deviation of their log-mel values.
        k_mix_centroids: Centroids of their time-means, (K, F) float32; None where no method mixes
            by them.
    """

    store: LogMelStore
    clips: pd.DataFrame
    mean: float
    std: float
    k_mix_centroids: np.ndarray | None = None

    @property
    def rows(self) -> np.ndarray:
        """Rows of the clips in the store, (N,) int64."""
        return self.store.rows(self.clips["clip_id"].to_numpy())

    def trained(
        self, encoder: Encoder, name: str, facts: dict[str, Any], projector: Projector | None = None
    ) -> TrainedEncoder:
        """Return an encoder that was trained on these clips, with what it takes to use it."""
        front_end = self.store.front_end.settings()
        module = encoder.cpu().eval()
        return TrainedEncoder(module, name, front_end, self.mean, self.std, facts, projector)
