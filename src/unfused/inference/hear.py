"""The interface of the HEAR benchmark (Turian et al., 2022): any trained encoder can be evaluated.

Give the module's name, ``unfused.inference.hear``, and an encoder's folder as the model to whatever
speaks that interface.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ..core.errors import UserError
from ..data.store import LogMelStore
from ..embeddings.audio_input import audio_store
from ..embeddings.embedder import EncoderEmbedder, load_embedder
from ..embeddings.read_out import deepest_tap, even_frames, even_step, read_out

MAX_HOP_MS = 50.0  # HEAR recommends timestamps at most this far apart


class HearModel(nn.Module):
    """An encoder with its read-out, as HEAR takes it.

    It has the sample rate in Hz, the dimensions D of a clip's embedding and D' of a moment's, and
    the milliseconds from one moment to the next.
    """

    def __init__(self, embedder: EncoderEmbedder) -> None:
        super().__init__()
        self.embedder = embedder
        self.encoder = embedder.trained.encoder  # so that .to(device) moves it
        self.sample_rate = embedder.sample_rate
        tap = deepest_tap(self.encoder, embedder.read_out.taps)
        self.scene_embedding_size = embedder.dim
        self.timestamp_embedding_size = self.encoder.dims[tap]
        hop_ms = 1000 * embedder.front_end.hop / embedder.sample_rate
        self.hop_ms = hop_ms * even_step(self.encoder.strides[tap], MAX_HOP_MS / hop_ms)

    @property
    def device(self) -> torch.device:
        """Where the weights are, and so where to compute."""
        return next(self.encoder.parameters()).device

    def log_mels(self, audio: Tensor) -> LogMelStore:
        """Return the log-mels of a batch (B, N); UserError where it has another shape."""
        if audio.dim() != 2:
            raise UserError(f"audio of shape {tuple(audio.shape)} must be (B, N)")
        return audio_store(list(audio), self.embedder.front_end, self.sample_rate)


def load_model(model_file_path: str = "") -> HearModel:
    """Return a trained encoder, by its folder or its ``encoder.safetensors``; there is no default.

    Raises:
        NotFoundError: There is no encoder.
        UserError: No path is given, the encoder is damaged, or what is there is no encoder.
    """
    if not model_file_path:
        raise UserError(
            "model_file_path is empty, and this package brings no weights: give the folder of a "
            "trained encoder, such as a fitted method or classifier saves with .save(folder)"
        )
    path = Path(model_file_path)
    embedder = load_embedder(path.parent if path.is_file() else path)
    if not isinstance(embedder, EncoderEmbedder):
        raise UserError(f"{path} holds {embedder}, which has no frames: give a trained encoder")
    return HearModel(embedder).eval()


def get_scene_embeddings(audio: Tensor, model: HearModel) -> Tensor:
    """Return one vector for each clip, as evaluation makes it.

    ``audio`` has mono samples at the model's rate, in [-1, 1], (B, N); the vectors, (B, D) float32,
    are on its device.
    """
    embedder, store = model.embedder, model.log_mels(audio)
    (vectors,) = read_out(
        embedder.trained, store, np.arange(len(store)), [embedder.read_out], device=model.device
    )
    return torch.from_numpy(vectors).to(audio.device)


def get_timestamp_embeddings(audio: Tensor, model: HearModel) -> tuple[Tensor, Tensor]:
    """Return vectors at even moments, at most 50 ms apart, from a clip's start to its end.

    Of audio as in :func:`get_scene_embeddings`: embeddings (B, T, D') float32, and the centres of
    what they describe in milliseconds (B, T) float32.
    """
    embedder, store = model.embedder, model.log_mels(audio)
    moments, centres = even_frames(
        embedder.trained, store, embedder.read_out, max_hop_ms=MAX_HOP_MS, device=model.device
    )
    timestamps = torch.from_numpy(centres).expand(len(audio), -1).contiguous()
    return torch.from_numpy(moments).to(audio.device), timestamps.to(audio.device)
