"""The interface of the X-ARES benchmark (Zhang et al., 2025): any trained encoder, by its folder.

Give this file to ``xares``, which makes the only class in it whose name ends in Encoder, without
arguments; the environment variable ``UNFUSED_ENCODER`` names the encoder's folder.
"""

import os

from torch import Tensor, nn

from unfused.core.errors import UserError
from unfused.inference.hear import get_timestamp_embeddings, load_model


class UnfusedEncoder(nn.Module):
    """An encoder as X-ARES takes it, with a vector for each moment.

    Raises:
        UserError: ``UNFUSED_ENCODER`` names no encoder.
    """

    def __init__(self) -> None:
        super().__init__()
        folder = os.environ.get("UNFUSED_ENCODER", "")
        if not folder:
            raise UserError("UNFUSED_ENCODER is empty: let it name the folder of a trained encoder")
        self.model = load_model(folder)
        self.sampling_rate = self.model.sample_rate
        self.output_dim = self.model.timestamp_embedding_size
        self.hop_size_in_ms = self.model.hop_ms

    def forward(self, audio: Tensor) -> Tensor:
        """Return embeddings at even moments of mono samples, (B, N) -> (B, T, D) float32."""
        return get_timestamp_embeddings(audio, self.model)[0]
