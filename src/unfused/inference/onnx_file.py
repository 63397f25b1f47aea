"""A classifier as one ONNX file: samples in, probabilities out, checked against PyTorch.

It runs with ONNX Runtime alone; ``classify_onnx.py`` beside it shows how. First the file, then the
graph in it: log-mel, encoder or plain statistics, read-out and probe, with nothing but operations
that can be exported, for clips that pass in one chunk.
"""

import importlib.util
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.fft import dct
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.errors import NotFoundError, UserError
from ..data.log_mel import FrontEnd, mel_filters
from ..data.reading import read_mono
from ..embeddings.audio_input import audio_store
from ..embeddings.embedder import (
    Embedder,
    EncoderEmbedder,
    Joined,
    LogMelStatistics,
    MFCCStatistics,
)
from ..embeddings.read_out import MULTIPLE, WINDOW, ReadOut, deepest_tap, squared_steps
from ..encoders.encoder import Encoder
from ..tasks.corpus import Corpus
from ..tasks.label_kinds import MULTI_LABEL
from .classifier import Classifier

PACKAGES = ("onnx", "onnxruntime", "onnxscript")
OPSET = 18
TOLERANCE = 2e-3
"""Largest difference from PyTorch, of an embedding over the embeddings' root mean square and of a
probability: PyTorch computes log-mels in float64, the file in float32."""
CHECKED_SECONDS = (0.1, 0.35, 0.96, 1.0, 2.345, 5.01, 12.0)  # lengths with which a file is checked


class OnnxMismatchError(UserError):
    """ONNX Runtime computes something else than PyTorch."""


def missing_packages() -> list[str]:
    """Return which packages of the extra ``onnx`` are not installed."""
    return [name for name in PACKAGES if importlib.util.find_spec(name) is None]


def export_onnx(classifier: Classifier, path: str | Path) -> dict[str, Any]:
    """Write a classifier as ONNX and check it; a file that fails the check is not left behind.

    Input ``samples`` (B, N) at the front-end's rate, N >= 0.1 s; outputs ``probabilities`` (B, C)
    and ``embedding`` (B, D), all float32. Clips above 12 s differ a little from PyTorch, which
    takes them in chunks.

    Returns:
        Facts about the file, JSON values.

    Raises:
        OnnxMismatchError: The file computes something else than PyTorch.
        NotFoundError: The extra ``onnx`` is not installed.
        UserError: The embedder is from outside.
    """
    if missing := missing_packages():
        how = 'pip install "unfused[onnx]", in the project\'s folder pip install -e ".[onnx]"'
        raise NotFoundError(f"ONNX needs {missing}: {how}")
    path, module = Path(path), OnnxClassifier(classifier).eval()
    rate, temporary = classifier.front_end_.sample_rate, path.with_name(path.name + ".tmp")
    shapes = {"samples": dict.fromkeys((0, 1), torch.export.Dim.DYNAMIC)}
    try:
        with _quiet():
            program = torch.export.export(  # the other tracer fixes the batch of a Conformer
                module, (torch.zeros(3, rate),), dynamic_shapes=shapes, strict=True
            )
            torch.onnx.export(
                program, (), str(temporary), input_names=["samples"],
                output_names=["probabilities", "embedding"], opset_version=OPSET,
                external_data=False, verbose=False,
            )  # fmt: skip
        facts = check_onnx(classifier, temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return {
        "file": path.name,
        "input": f"samples (B, N) float32 in [-1, 1] at {rate} Hz, mono, N >= {rate // 10}",
        "output": "probabilities (B, C) and embedding (B, D), float32",
        "sample_rate": rate,
        "segment_seconds": classifier.segment_seconds_,
        "classes": [str(name) for name in classifier.classes_],
        "opset": OPSET,
        **facts,
    }


def check_onnx(classifier: Classifier, path: str | Path) -> dict[str, Any]:
    """Compare a file with PyTorch on noise of several lengths.

    Returns:
        The shapes (B, N) that were compared, the largest ``difference`` of an embedding, the same
        over the embeddings' root mean square (``relative``), the largest difference of a
        probability, and the version of ONNX Runtime.

    Raises:
        OnnxMismatchError: A difference is above :data:`TOLERANCE`, or not a number.
    """
    import onnxruntime

    session, front_end = _session(path), classifier.front_end_
    rng, worst, shapes = np.random.default_rng(0), np.zeros(3), []
    for seconds in CHECKED_SECONDS:
        samples = rng.normal(0, 0.1, (2, int(seconds * front_end.sample_rate))).astype(np.float32)
        samples[1] *= np.linspace(1, 0.01, samples.shape[1])
        store = audio_store(list(samples), front_end, front_end.sample_rate)
        clips = Corpus.of(store, store.index[["clip_id"]])
        expected = classifier.embedder_.embed(clips, device="cpu")
        likely, found = session.run(["probabilities", "embedding"], {"samples": samples})
        difference = np.abs(found - expected).max()
        size = max(float(np.sqrt(np.square(expected).mean())), 1e-12)
        change = np.abs(likely - classifier.head_.probabilities(expected)).max()
        worst = np.maximum(worst, [difference, difference / size, change])  # keeps NaN
        shapes.append(list(samples.shape))
    if not (worst[1:] <= TOLERANCE).all():
        raise OnnxMismatchError(
            f"ONNX Runtime {onnxruntime.__version__} differs from PyTorch by {worst[1]:.3g} of the "
            f"embeddings' size and by {worst[2]:.3g} in probabilities; allowed are {TOLERANCE}: no "
            "ONNX file is written; try other versions of onnx, onnxscript and onnxruntime"
        )
    names = ("difference", "relative", "probability_difference")
    differences = dict(zip(names, worst.tolist(), strict=True))
    return {"shapes": shapes, **differences, "runtime": onnxruntime.__version__}


def quantise(classifier: Classifier, path: Path, smaller: Path, corpus: Corpus) -> dict[str, Any]:
    """Write what :func:`export_onnx` wrote with the encoder's weights in 8 bits, into ``smaller``.

    What that costs is measured on labelled clips that the classifier was not fitted on.

    Returns:
        Score of both files on the clips (accuracy, with several labels mAP), the share of clips
        with the same label, and both sizes in bytes.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    graph = onnx.load(str(path)).graph
    exact = [  # the Fourier basis, mel filters and the probe stay as they are
        node.name
        for node in graph.node
        if any(name.startswith(("log_mel.", "weight", "bias")) for name in node.input)
    ]
    with _quiet():
        quantize_dynamic(path, smaller, weight_type=QuantType.QUInt8, nodes_to_exclude=exact)
    rate = classifier.front_end_.sample_rate
    sessions, likely = [_session(path), _session(smaller)], []
    for file, offset, n in corpus.clips[["path", "offset", "frames"]].itertuples(index=False):
        given = {"samples": read_mono(file, offset=offset, frames=n, sample_rate=rate)[None]}
        likely.append([session.run(["probabilities"], given)[0][0] for session in sessions])
    before, after = np.array(likely).transpose(1, 0, 2)
    named = [classifier.head_.named(part) for part in (before, after)]
    return {
        "file": smaller.name,
        "score": classifier.scored(before, corpus),
        "score_int8": classifier.scored(after, corpus),
        "same_label": float((named[0] == named[1]).mean()),
        "bytes": path.stat().st_size,
        "bytes_int8": smaller.stat().st_size,
    }


def _session(path: str | Path) -> Any:
    import onnxruntime

    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's remarks on its own workings out of the log."""
    before = logging.root.manager.disable
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(before)


class OnnxClassifier(nn.Module):
    """What the file of a fitted classifier computes."""

    weight: Tensor
    bias: Tensor

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        head = classifier.head_
        self.log_mel = LogMel(classifier.front_end_)
        self.parts = nn.ModuleList(embedder_modules(classifier.embedder_))
        weight = head.linear.weight / head.linear.scale / head.calibration.temperature
        bias = head.linear.bias / head.calibration.temperature - weight @ head.linear.mean
        self.register_buffer("weight", torch.from_numpy(weight.T.astype(np.float32)))
        self.register_buffer("bias", torch.from_numpy(bias.astype(np.float32)))
        self.several = head.kind is MULTI_LABEL

    def forward(self, samples: Tensor) -> tuple[Tensor, Tensor]:
        """Return probabilities (B, C) and vectors (B, D) of samples (B, N)."""
        log_mel = self.log_mel(samples)
        embedding = torch.cat([part(log_mel) for part in self.parts], dim=1)
        logits = embedding @ self.weight + self.bias
        return logits.sigmoid() if self.several else logits.softmax(1), embedding


class LogMel(nn.Module):
    """The log-mel front-end in float32: a real Fourier basis as a convolution, then mel filters."""

    basis: Tensor
    filters: Tensor

    def __init__(self, front_end: FrontEnd) -> None:
        super().__init__()
        filters = mel_filters(front_end)  # (bins, F)
        used = np.flatnonzero(filters.any(axis=1))
        angle = 2 * np.pi * np.outer(used, np.arange(front_end.n_fft)) / front_end.n_fft
        window = torch.hann_window(front_end.n_fft, periodic=True, dtype=torch.float64).numpy()
        basis = np.concatenate([np.cos(angle), np.sin(angle)]) * window  # (2 bins, n_fft)
        self.register_buffer("basis", torch.from_numpy(basis).float()[:, None])
        self.register_buffer("filters", torch.from_numpy(filters[used]))
        self.front_end = front_end

    def forward(self, samples: Tensor) -> Tensor:
        """Return log-mels (B, T, F) of samples (B, N), rounded as the store rounds them."""
        half = self.front_end.n_fft // 2
        padded = F.pad(samples[:, None], (half, half), mode="reflect")
        parts = F.conv1d(padded, self.basis, stride=self.front_end.hop).square()
        real, imaginary = parts.chunk(2, dim=1)  # (B, bins, T) each
        mel = (real + imaginary).transpose(1, 2) @ self.filters
        return (mel + self.front_end.eps).log().half().float()


class ReadOutModule(nn.Module):
    """An encoder with its read-out, for clips that pass in one chunk."""

    def __init__(self, embedder: EncoderEmbedder, item: ReadOut, encoder: Encoder) -> None:
        super().__init__()
        trained, self.encoder = embedder.trained, encoder
        self.mean, self.std, self.item = trained.mean, trained.std, item
        self.pad_value = embedder.front_end.pad_value

    def forward(self, log_mel: Tensor) -> Tensor:
        """Return vectors (B, D) of log-mels (B, T, F)."""
        n_frames, item = log_mel.shape[1], self.item
        length = (n_frames + MULTIPLE - 1) // MULTIPLE * MULTIPLE  # ONNX divides towards zero
        start = 0
        if item.padding != "none":
            length = torch.sym_max(length, WINDOW)
            start = -(torch.sym_max(WINDOW - n_frames, 0) // 2)
        position = torch.arange(length) + start
        inside = (position >= 0) & (position < n_frames)
        divisor = torch.ones_like(position) * n_frames  # ONNX has no modulo by a symbol
        padded = log_mel[:, torch.remainder(position, divisor)]
        if item.padding == "silence":
            padded = torch.where(inside[None, :, None], padded, self.pad_value)
        if item.clip_normalisation:
            padded = padded - log_mel.mean(1, keepdim=True) + self.mean
        inputs = ((padded - self.mean) / self.std).transpose(1, 2).unsqueeze(1)
        ends = torch.ones(len(log_mel)) * n_frames
        spans = torch.stack([torch.zeros_like(ends), ends], dim=1) - start
        found = self.encoder.moments(inputs, spans)
        parts = []
        for tap in item.taps:
            frames, mask, centres = found[tap]
            place = (centres + start) / n_frames
            parts += _statistics(frames, mask.to(frames.dtype)[..., None], place, item)
        return torch.cat(parts, dim=1)


def _statistics(frames: Tensor, real: Tensor, place: Tensor, item: ReadOut) -> list[Tensor]:
    """Return the statistics of frames (B, T, D), of which ``real`` (B, T, 1) count."""
    mean = (frames * real).sum(1) / real.sum(1)
    highest = frames.masked_fill(real == 0, -torch.inf).amax(1)
    spread = (((frames - mean[:, None]).square() * real).sum(1) / real.sum(1)).sqrt()
    steps, n_steps = squared_steps(frames, real)
    delta = (steps / n_steps.clamp(min=1)).sqrt()
    known = {"mean": [mean], "max": [highest], "std": [spread], "delta": [delta]}
    known["max+mean"] = [highest + mean]
    if item.segments > 1:
        number = (place * item.segments).long().clamp(0, item.segments - 1)  # (B, T)
        known["mean"] = []
        for segment in range(item.segments):
            member = real * (number == segment).to(real.dtype)[..., None]
            count = member.sum(1)
            part = (frames * member).sum(1) / count.clamp(min=1)
            known["mean"].append(torch.where(count > 0, part, mean))
    return [part for name in item.statistics for part in known[name]]


class StatisticsModule(nn.Module):
    """Log-mel or MFCC statistics."""

    dct: Tensor

    def __init__(self, embedder: LogMelStatistics | MFCCStatistics) -> None:
        super().__init__()
        self.segments, self.step = embedder.segments, 0
        if isinstance(embedder, MFCCStatistics):
            self.step = embedder.step
            transform = dct(np.eye(embedder.n_mels), type=2, norm="ortho", axis=1)
            self.register_buffer("dct", torch.from_numpy(transform[:, : embedder.n_mfcc]).float())

    def forward(self, log_mel: Tensor) -> Tensor:
        """Return vectors (B, D) of log-mels (B, T, F)."""
        frames = log_mel @ self.dct if self.step else log_mel
        n_frames, n = frames.shape[1], self.segments
        place, parts = torch.arange(n_frames), []
        for i in range(n):
            member = (place >= i * n_frames // n) & (place < (i + 1) * n_frames // n)
            weight = member.to(frames.dtype)[None, :, None]
            parts.append((frames * weight).sum(1) / weight.sum(1))
        parts.append(frames.std(1, correction=0))
        if self.step:
            differences = frames[:, self.step :] - frames[:, : -self.step]
            parts.append(differences.std(1, correction=0))
        return torch.cat(parts, dim=1)


def embedder_modules(embedder: Embedder) -> list[nn.Module]:
    """Return what computes parts of an embedder's vectors, (B, D_i), of log-mels (B, T, F).

    Raises:
        UserError: It is from outside, so it is no network of this package.
    """
    if isinstance(embedder, Joined):
        return [module for part in embedder.parts for module in embedder_modules(part)]
    if isinstance(embedder, EncoderEmbedder):
        trained, item = embedder.trained, embedder.read_out
        if item.crop_frames is not None:
            raise UserError(f"{item.name!r} draws random crops: deploy a read-out of whole clips")
        encoder = trained.encoder.truncated(deepest_tap(trained.encoder, item.taps))
        encoder = encoder.float().cpu().eval().requires_grad_(False)
        return [ReadOutModule(embedder, part, encoder) for part in item.hearings]
    if isinstance(embedder, LogMelStatistics | MFCCStatistics):
        return [StatisticsModule(embedder)]
    raise UserError(f"{embedder} cannot be an ONNX file: only encoders and plain statistics can")
