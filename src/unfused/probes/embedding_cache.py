"""Embeddings of a task's labelled clips, computed once for each encoder and kept on disk."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..core.errors import UserError
from ..core.outputs import write_json
from ..data.store import LogMelStore
from ..embeddings.embed import embed_clips, log_mel_statistics
from ..encoders.trained import TrainedEncoder
from ..training.precision import pick_device
from .candidates import Candidate

_ROWS, _SIZES = "rows.npy", "sizes.json"


@dataclass(frozen=True)
class ClipEmbeddings:
    """One encoder's embeddings of a task's labelled clips.

    Attributes:
        path: Folder with ``rows.npy``, one ``<cut>.npy`` per cut and ``sizes.json``.
    """

    path: Path

    @cached_property
    def sizes(self) -> dict[str, dict[str, int]]:
        """Cut -> ``dimension`` and ``parameters`` of the encoder up to it."""
        known: dict[str, dict[str, int]] = json.loads(
            (self.path / _SIZES).read_text(encoding="utf-8")
        )
        return known

    def matrix(self, cut: str, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the embeddings at one cut of some of the store's rows, (N, D).

        Raises:
            ValueError: A row was not embedded.
        """
        known = np.load(self.path / _ROWS)
        places = np.minimum(np.searchsorted(known, rows), len(known) - 1)
        if (known[places] != rows).any():
            raise UserError(f"{self.path} lacks some of the clips")
        return np.asarray(np.load(_file(self.path, cut), mmap_mode="r")[places])


def embed_candidate(
    folder: Path,
    candidate: Candidate,
    store: LogMelStore,
    rows: NDArray[np.int64],
    *,
    device: str,
) -> None:
    """Embed clips with one encoder at all its cuts and write the result.

    Args:
        folder: Receives the files, ``sizes.json`` last.
        candidate: Which encoder.
        store: Log-mels.
        rows: Which clips, sorted, (N,).
        device: Where to compute.
    """
    trained = candidate.load()
    if trained is None:
        found = {"": log_mel_statistics(store, rows)}
    else:
        found = embed_clips(
            trained, store, rows, cuts=candidate.cuts, protocol=candidate.embedding,
            seed=candidate.seed, device=pick_device(device),
        )  # fmt: skip
    np.save(folder / _ROWS, rows)
    for cut, matrix in found.items():
        np.save(_file(folder, cut), matrix)
    sizes = {
        cut: {"dimension": matrix.shape[1], "parameters": _parameters(trained, cut)}
        for cut, matrix in found.items()
    }
    write_json(folder / _SIZES, sizes)


def _parameters(trained: TrainedEncoder | None, cut: str) -> int:
    return 0 if trained is None else trained.encoder.truncated(cut).n_parameters


def _file(folder: Path, cut: str) -> Path:
    return folder / f"cut-{cut}.npy"
