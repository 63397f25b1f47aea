"""An encoder as an ONNX file, log-mels in and clip embeddings out, checked against PyTorch."""

from __future__ import annotations

import importlib.util
import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..data.log_mel import FrontEnd
from ..data.memory_store import memory_store
from ..embeddings.embed import MAX_SECONDS, embed_clips
from ..embeddings.pieces import MIN_FRAMES, MULTIPLE
from ..encoders.trained import TrainedEncoder

PACKAGES = ("onnx", "onnxruntime", "onnxscript")
HOW_TO_INSTALL = 'pip install "unfused[onnx]", in the project\'s folder pip install -e ".[onnx]"'
OPSET = 18
TOLERANCE = 1e-3
"""Largest difference from PyTorch, relative to the root mean square of the embeddings."""
CHECKED = ((1, MIN_FRAMES), (3, 137), (2, 500), (4, 1001))
"""Batches and frames with which a file is checked."""


@dataclass(frozen=True)
class OnnxCheck:
    """How far ONNX Runtime's embeddings are from evaluation's.

    Attributes:
        shapes: Batches (B, T) that were compared.
        difference: Largest absolute difference.
        relative: The same over the root mean square of the embeddings.
        opset: Of the file.
        runtime: Version of ONNX Runtime.
    """

    shapes: list[list[int]]
    difference: float
    relative: float
    opset: int
    runtime: str


class OnnxMismatchError(RuntimeError):
    """ONNX Runtime computes something else than PyTorch."""


def missing_packages() -> list[str]:
    """Return which packages of the extra ``onnx`` are not installed."""
    return [name for name in PACKAGES if importlib.util.find_spec(name) is None]


class ClipEncoder(nn.Module):
    """What the file computes: normalise, pad as evaluation does, encode, pool.

    Args:
        trained: The encoder and its normalisation.
    """

    def __init__(self, trained: TrainedEncoder) -> None:
        super().__init__()
        self.encoder = deepcopy(trained.encoder).float().cpu().eval().requires_grad_(False)
        self.normalise = trained.normalise
        self.pad_value = FrontEnd(**trained.front_end).pad_value

    def forward(self, log_mel: Tensor) -> Tensor:
        """Return clip embeddings (B, D) of log-mels (B, T, F), T >= 96 and at most 12 s."""
        n_frames = log_mel.shape[1]
        n_padding = -n_frames % MULTIPLE
        padded = nn.functional.pad(log_mel, (0, 0, 0, n_padding), value=self.pad_value)
        ends = torch.ones(log_mel.shape[0]) * n_frames
        spans = torch.stack([torch.zeros_like(ends), ends], dim=1)
        embedding: Tensor = self.encoder(self.normalise(padded, spans), spans)
        return embedding


def export_onnx(trained: TrainedEncoder, path: str | Path) -> OnnxCheck:
    """Write an encoder as ONNX and check it; a file that fails the check is not left behind.

    Input ``log_mel`` (B, T, F) and output ``embedding`` (B, D) are float32; B and T are dynamic.

    Args:
        trained: The encoder.
        path: Where to.

    Raises:
        OnnxMismatchError: The file computes something else than PyTorch.
        ModuleNotFoundError: The extra ``onnx`` is not installed.
    """
    if missing := missing_packages():
        raise ModuleNotFoundError(f"ONNX needs {missing}: {HOW_TO_INSTALL}")
    path = Path(path)
    temporary = path.with_name(path.name + ".tmp")
    try:
        with _quiet():
            torch.onnx.export(
                _program(trained),
                (),
                str(temporary),
                input_names=["log_mel"],
                output_names=["embedding"],
                opset_version=OPSET,
                external_data=False,
                verbose=False,
            )
        check = check_onnx(trained, temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return check


def _program(trained: TrainedEncoder) -> torch.export.ExportedProgram:
    n_mels = FrontEnd(**trained.front_end).n_mels
    example = torch.zeros(3, MIN_FRAMES + 5, n_mels)
    dynamic = torch.export.Dim.DYNAMIC
    return torch.export.export(  # the other tracer fixes the batch of a Conformer
        ClipEncoder(trained),
        (example,),
        dynamic_shapes={"log_mel": {0: dynamic, 1: dynamic}},
        strict=True,
    )


def check_onnx(
    trained: TrainedEncoder, path: str | Path, shapes: Sequence[tuple[int, int]] = CHECKED
) -> OnnxCheck:
    """Compare a file with evaluation's embeddings of random clips.

    Args:
        trained: The encoder.
        path: The file.
        shapes: Batches and frames, at most 12 s.

    Raises:
        OnnxMismatchError: The largest difference is above :data:`TOLERANCE`, or not a number.
    """
    import onnx
    import onnxruntime

    model = onnx.load(str(path))
    onnx.checker.check_model(model)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    front_end = FrontEnd(**trained.front_end)
    longest, rng = front_end.frames(MAX_SECONDS), np.random.default_rng(0)
    difference, power = 0.0, []
    for batch, n_frames in shapes:
        clips = _noise(rng, trained, (batch, min(n_frames, longest), front_end.n_mels))
        store = memory_store(front_end, [[clip] for clip in clips])
        expected = embed_clips(trained, store, np.arange(batch))[trained.encoder.cut]
        rounded = np.stack([store.clip(row) for row in range(batch)])
        (found,) = session.run(["embedding"], {"log_mel": rounded})
        difference = max(difference, float(np.abs(found - expected).max()))
        power.append(float(np.square(expected).mean()))
    relative = difference / max(float(np.sqrt(np.mean(power))), 1e-12)
    if not relative <= TOLERANCE:
        raise OnnxMismatchError(
            f"ONNX Runtime {onnxruntime.__version__} differs from PyTorch by {difference:.3g} "
            f"({relative:.3g} of the embeddings' size, allowed are {TOLERANCE}): no ONNX file is "
            "written; try other versions of onnx, onnxscript and onnxruntime"
        )
    opset = max(item.version for item in model.opset_import if item.domain in ("", "ai.onnx"))
    return OnnxCheck(
        [list(shape) for shape in shapes], difference, relative, opset, onnxruntime.__version__
    )


def _noise(
    rng: np.random.Generator, trained: TrainedEncoder, shape: tuple[int, int, int]
) -> NDArray[np.float32]:
    """Return log-mels (B, T, F) of the level that the encoder is used to, louder clips last."""
    clips = rng.normal(size=shape) * trained.std + trained.mean
    level = np.linspace(-1, 1, shape[0])[:, None, None] * trained.std
    return (clips + level).astype(np.float32)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's remarks on its own workings out of the log."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
