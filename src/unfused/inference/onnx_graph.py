"""A classifier as one graph from samples to probabilities, which ONNX can hold.

The log-mel, the encoder or plain statistics, the read-out and the probe, with nothing but
operations that :mod:`.onnx_file` can export; for clips that pass in one chunk.
"""

import numpy as np
import torch
from scipy.fft import dct
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.errors import UserError
from ..data.log_mel import FrontEnd, mel_filters
from ..embeddings.embedder import (
    Embedder,
    EncoderEmbedder,
    Joined,
    LogMelStatistics,
    MFCCStatistics,
)
from ..embeddings.read_out import MULTIPLE, WINDOW, ReadOut, deepest_tap
from ..tasks.label_kinds import MULTI_LABEL
from .classifier import Classifier


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

    def __init__(self, embedder: EncoderEmbedder) -> None:
        super().__init__()
        trained, item = embedder.trained, embedder.read_out
        if item.crop_frames is not None:
            raise UserError(f"{item.name!r} draws random crops: deploy a read-out of whole clips")
        encoder = trained.encoder.truncated(deepest_tap(trained.encoder, item.taps))
        self.encoder = encoder.float().cpu().eval().requires_grad_(False)
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
        if item.clip_normalisation:
            log_mel = log_mel - log_mel.mean(1, keepdim=True) + self.mean
        position = torch.arange(length) + start
        inside = (position >= 0) & (position < n_frames)
        divisor = torch.ones_like(position) * n_frames  # ONNX has no modulo by a symbol
        padded = log_mel[:, torch.remainder(position, divisor)]
        if item.padding == "silence":
            padded = torch.where(inside[None, :, None], padded, self.pad_value)
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
    known = {"mean": [mean], "max": [highest], "std": [spread], "max+mean": [highest + mean]}
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
        return [ReadOutModule(embedder)]
    if isinstance(embedder, LogMelStatistics | MFCCStatistics):
        return [StatisticsModule(embedder)]
    raise UserError(f"{embedder} cannot be an ONNX file: only encoders and plain statistics can")
