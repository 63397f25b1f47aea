"""An encoder and a head in one folder: what it takes to classify, without the task's data."""

from __future__ import annotations

from pathlib import Path

from ..core.errors import UserError
from ..encoders.trained import WEIGHTS_FILE, TrainedEncoder, load_encoder, save_encoder
from .head import SETTINGS_FILE, Head, checksum, load_head, save_head


def save_classifier(folder: str | Path, trained: TrainedEncoder, head: Head) -> None:
    """Write an encoder and the head that was fitted on its embeddings.

    Every file is whole or not there, and the head's JSON, written last, holds the checksums of all
    weights: an interrupted save is noticed when loading.

    Args:
        folder: Where to; made if missing.
        trained: The encoder, ending at the cut that the head takes.
        head: The head.

    Raises:
        ValueError: The head takes another dimension than the encoder gives, or see
            :func:`~unfused.encoders.trained.save_encoder`.
    """
    folder = Path(folder)
    if len(head.mean) != trained.encoder.dim:
        raise UserError(
            f"the head takes {len(head.mean)} dimensions, the encoder at {trained.encoder.cut!r} "
            f"gives {trained.encoder.dim}: fit the head on this encoder's embeddings"
        )
    (folder / SETTINGS_FILE).unlink(missing_ok=True)
    save_encoder(folder, trained)
    save_head(folder, head, encoder=_encoder_checksum(folder))


def read_classifier(folder: str | Path) -> tuple[TrainedEncoder, Head]:
    """Read what :func:`save_classifier` wrote, on the CPU and in evaluation mode.

    Raises:
        FileNotFoundError: There is no classifier in ``folder``.
        ValueError: It is damaged, unfinished, or does not fit this version.
    """
    trained = load_encoder(folder)
    return trained, load_head(folder, encoder=_encoder_checksum(Path(folder)))


def _encoder_checksum(folder: Path) -> str:
    return checksum((folder / WEIGHTS_FILE).read_bytes())
