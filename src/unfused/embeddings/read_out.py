"""How a frozen encoder is read out: which layers, which statistics over time, of which input.

That decides as much as how it was trained (Niizumi et al., EUSIPCO 2022, and docs/results.md), so
it is a thing of its own, chosen on validation clips.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils import fuse_conv_bn_eval

from ..core.errors import UserError, must_be, must_be_one_of
from ..core.progress import progress
from ..core.seeding import derive_seed
from ..data.store import LogMelStore
from ..encoders.encoder import Encoder, Moments
from ..encoders.trained import TrainedEncoder
from ..training.precision import keep_freed_memory, pick_device

Device = torch.device | str
Floats = NDArray[np.float32]
Statistic = Literal["mean", "max", "std", "delta", "max+mean"]
Padding = Literal["none", "repeat", "silence"]
MAX_SECONDS = 12.0
"""Longer clips pass in chunks; their statistics are those of the whole clip all the same."""
WINDOW = 96
"""Frames of a training window; ``padding`` fills shorter clips up to it."""
MULTIPLE = 8
"""Frames that the encoders' strides divide."""
BATCH_FRAMES = 9600


@dataclass(frozen=True)
class ReadOut:
    """What of an encoder becomes the vector of a clip.

    Attributes:
        taps: Layers, side by side; none: the encoder's own choice (:attr:`Encoder.read_out_tap`).
        statistics: Over the clip's frames, side by side: ``mean``, ``max``, ``std``, ``delta`` (how
            much changes from frame to frame: root mean square, within chunks of 12 s) or
            ``max+mean`` (their sum, as in BYOL-A and the official UnFuSeD code).
        segments: Equal parts of the clip, one after the other, that each have a mean of their own.
        clip_normalisation: Subtract each clip's mean in each mel band from the input: takes away
            level and colour of room and microphone. None: as the encoder was trained. ``both``:
            the clip is heard twice, as it is and without its mean, and the vectors are joined.
        padding: What shorter clips than a training window are filled up with: nothing, themselves
            again, or ``silence`` (log(eps), as in the papers). The frames that count are those of
            the clip alone.
        crop_frames: One random crop of so many frames is heard, as in the papers' evaluation; None:
            the whole clip.
        seed: Seed of that crop.

    Raises:
        UserError: A value has no meaning.

    >>> ReadOut(("block3",), ("mean", "std"), segments=3).name
    'block3 3 x mean+std'
    """

    taps: tuple[str, ...] = ()
    statistics: tuple[Statistic, ...] = ("mean", "max", "std")
    segments: int = 1
    clip_normalisation: bool | Literal["both"] | None = None
    padding: Padding = "none"
    crop_frames: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "taps", tuple(self.taps))
        object.__setattr__(self, "statistics", tuple(self.statistics))
        known = list(get_args(Statistic))
        if not self.statistics or not set(self.statistics) <= set(known):
            raise UserError(f"statistics={self.statistics} must be one or more of {known}")
        must_be_one_of(get_args(Padding), padding=self.padding)
        if self.clip_normalisation not in (None, False, True, "both"):
            given = repr(self.clip_normalisation)
            raise UserError(f"clip_normalisation={given} must be true, false or 'both'")
        if self.segments < 1 or (self.segments > 1 and "mean" not in self.statistics):
            raise UserError(f"segments={self.segments} must be at least 1, and 1 without 'mean'")
        must_be(f"at least {MULTIPLE}", crop_frames=self.crop_frames)

    @property
    def name(self) -> str:
        """What tables call it."""
        segments = f"{self.segments} x " if self.segments > 1 else ""
        taps = "+".join(self.taps) or "encoder"
        parts = [f"{taps} {segments}{'+'.join(self.statistics)}"]
        if self.clip_normalisation:
            both = self.clip_normalisation == "both"
            parts.append("clip-normalised and not" if both else "clip-normalised")
        if self.padding != "none":
            parts.append(f"padded with {'itself' if self.padding == 'repeat' else 'silence'}")
        if self.crop_frames is not None:
            parts.append(f"one crop of {self.crop_frames} frames")
        return ", ".join(parts)

    def of(self, trained: TrainedEncoder) -> ReadOut:
        """Return it with the encoder's own choices filled in.

        Raises:
            UserError: A tap is none of the encoder's.
        """
        encoder = trained.encoder
        taps = self.taps or (encoder.read_out_tap,)
        if unknown := [tap for tap in taps if tap not in encoder.dims]:
            raise UserError(
                f"taps={unknown} are no taps of {trained.name!r}; choose from {list(encoder.dims)}"
            )
        normalised = self.clip_normalisation
        if normalised is None:
            normalised = trained.clip_normalisation
        return replace(self, taps=taps, clip_normalisation=normalised)

    def dim(self, encoder: Encoder) -> int:
        """Return the dimension of the vector."""
        width = sum(encoder.dims[tap] for tap in self.taps or (encoder.read_out_tap,))
        return width * (len(self.statistics) + self.segments - 1) * len(self.hearings)

    @property
    def hearings(self) -> list[ReadOut]:
        """What its vectors are put together from: itself, or the clip as it is and normalised."""
        if self.clip_normalisation != "both":
            return [self]
        return [replace(self, clip_normalisation=normalised) for normalised in (False, True)]


USUAL = ReadOut((), ("mean", "max", "std", "delta"), segments=3, clip_normalisation="both")
"""How embedders read an encoder out unless something else is asked for: of those that were compared
the best on validation clips of seven sets (docs/results.md)."""


class Chunks(NamedTuple):
    """Parts of clips that pass through the encoder at once, in input frames."""

    clip: NDArray[np.int64]  # number of the clip
    start: NDArray[np.int64]  # first frame; negative: begins in padding
    length: NDArray[np.int64]  # padding included


class Heard(NamedTuple):
    """Clips as an encoder hears them."""

    trained: TrainedEncoder
    store: LogMelStore
    rows: NDArray[np.int64]  # of the clips
    item: ReadOut  # for clip normalisation, padding and crops
    device: torch.device

    def batches(self, chunks: Chunks) -> Iterator[tuple[Chunks, Tensor, Tensor]]:
        """Yield chunks of equal length, normalised, (B, 1, F, T), and their real parts, (B, 2)."""
        means = self.store.time_means(self.rows) if self.item.clip_normalisation else None
        mean, std = self.trained.mean, self.trained.std
        for batch in _of_equal_length(chunks):
            rows, length = self.rows[batch.clip], int(batch.length[0])
            log_mel, spans = self.store.crops(rows, batch.start, length)
            if self.item.padding != "silence":
                log_mel = _repeated(log_mel, spans)
            if means is not None:
                log_mel = log_mel - torch.from_numpy(means[batch.clip] - mean)[:, None]
            inputs = (log_mel.to(self.device) - mean) / std  # (B, T, F)
            yield batch, inputs.transpose(1, 2).unsqueeze(1), spans.to(self.device)


def read_out(
    trained: TrainedEncoder,
    store: LogMelStore,
    rows: NDArray[np.int64],
    read_outs: Sequence[ReadOut],
    *,
    device: Device = "auto",
    each: Callable[[Chunks, dict[str, Moments]], None] | None = None,
) -> list[Floats]:
    """Embed clips; read-outs that hear the same input share one pass.

    What comes out for a clip does not depend on the others. A copy of the encoder computes;
    ``each`` is shown each batch of chunks (numbers of ``rows``) of the first pass and the frames of
    its taps.

    Returns:
        For each read-out the clips' vectors, (N, D) float32.

    Raises:
        UserError: Unknown tap, or the store has another front-end.
    """
    trained.check_front_end(store.front_end)
    wanted, rows = [item.of(trained) for item in read_outs], np.asarray(rows, dtype=np.int64)
    sharing: dict[tuple[Any, ...], list[ReadOut]] = defaultdict(list)  # by what decides the input
    for item in dict.fromkeys(part for whole in wanted for part in whole.hearings):
        drawn = item.seed if item.crop_frames is not None else 0
        sharing[item.clip_normalisation, item.padding, item.crop_frames, drawn].append(item)
    found: dict[ReadOut, Floats] = {}
    if (device := pick_device(device)).type == "cpu":
        keep_freed_memory()
    for items in sharing.values():
        heard = Heard(trained, store, rows, items[0], device)
        found |= zip(items, _one_pass(heard, items, None if found else each), strict=True)
    vectors = [[found[part] for part in item.hearings] for item in wanted]
    return [np.concatenate(both, axis=1) if len(both) > 1 else both[0] for both in vectors]


def _one_pass(
    heard: Heard,
    wanted: Sequence[ReadOut],
    each: Callable[[Chunks, dict[str, Moments]], None] | None,
) -> list[Floats]:
    taps = tuple(dict.fromkeys(tap for item in wanted for tap in item.taps))
    encoder = inference_copy(heard.trained.encoder, taps, heard.device)
    n_segments = {item.segments for item in wanted}
    delta = any("delta" in item.statistics for item in wanted)
    running = {tap: _Running(len(heard.rows), encoder.dims[tap], n_segments, delta) for tap in taps}
    lengths = heard.store.n_frames[heard.rows]
    chunks, first, n_heard = _cut(heard, lengths)
    bar = progress(total=len(chunks.clip), desc="embedding", unit="clip")
    with torch.inference_mode(), bar:
        for batch, inputs, spans in heard.batches(chunks):
            origin = torch.from_numpy(batch.start - first[batch.clip])
            size = torch.from_numpy(n_heard[batch.clip])
            found = encoder.moments(inputs, spans)
            for tap in running:
                position = (found[tap].centres.cpu() + origin[:, None]) / size[:, None]
                running[tap].add(batch.clip, found[tap], position)
            if each is not None:
                each(batch, found)
            bar.update(len(batch.clip))
    vectors = []
    for item in wanted:
        pairs = [(running[tap], name) for tap in item.taps for name in item.statistics]
        parts = [of_tap.statistic(name, item.segments) for of_tap, name in pairs]
        vectors.append(np.concatenate(parts, axis=1).astype(np.float32))
    return vectors


def deepest_tap(encoder: Encoder, taps: Sequence[str]) -> str:
    """Return the deepest of some taps, at which an encoder may end."""
    return max(taps, key=list(encoder.dims).index)


def inference_copy(encoder: Encoder, taps: Sequence[str], device: torch.device) -> Encoder:
    """Return a copy for inference that ends at the deepest tap; channels last is twice as fast.

    A batch norm behind a convolution is part of its weights: the same but for rounding, in three
    quarters of the time.
    """
    deepest = deepest_tap(encoder, taps)
    copy = deepcopy(encoder) if deepest == encoder.cut else encoder.truncated(deepest)
    copy.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    copy.to(device).eval()
    for block in copy.modules():
        if isinstance(block, nn.Sequential):
            for i, (layer, norm) in enumerate(pairwise(block)):
                if not (isinstance(layer, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)):
                    continue
                if norm.running_mean is not None:
                    block[i], block[i + 1] = fuse_conv_bn_eval(layer, norm), nn.Identity()
    return copy


class _Running:
    """Statistics of one tap's frames that are put together chunk by chunk, in float64."""

    def __init__(self, n_clips: int, dim: int, segments: set[int], delta: bool = False) -> None:
        self.count = np.zeros((n_clips, 1))
        self.mean, self.squares = np.zeros((n_clips, dim)), np.zeros((n_clips, dim))
        self.max = np.full((n_clips, dim), -np.inf)
        self.steps = np.zeros((n_clips, dim if delta else 0))
        self.n_steps = np.zeros((n_clips, 1))
        self.sums = {n: np.zeros((n_clips, n, dim)) for n in segments if n > 1}
        self.counts = {n: np.zeros((n_clips, n, 1)) for n in segments if n > 1}

    def add(self, clips: NDArray[np.int64], moments: Moments, position: Tensor) -> None:
        """Add the frames of chunks; ``position`` within the clip, in [0, 1)."""
        frames, mask = moments.features.float(), moments.mask
        weight = mask[..., None].to(frames.dtype)
        count = weight.sum(1)
        mean = (frames * weight).sum(1) / count
        squares = ((frames - mean[:, None]).square() * weight).sum(1)
        highest = frames.masked_fill(~mask[..., None], -torch.inf).amax(1)
        arrays = [item.double().cpu().numpy() for item in (count, mean, squares, highest)]
        for clip, *of_chunk in zip(clips, *arrays, strict=True):
            self._merge(clip, *of_chunk)
        if self.steps.size:
            steps, n_steps = squared_steps(frames, weight)
            np.add.at(self.steps, clips, steps.double().cpu().numpy())
            np.add.at(self.n_steps, clips, n_steps.double().cpu().numpy())
        for n, sums in self.sums.items():
            number = (position * n).long().clamp(0, n - 1)  # (B, T')
            member = torch.nn.functional.one_hot(number, n).to(frames.device) * weight
            part = torch.einsum("bts,btd->bsd", member, frames)
            np.add.at(sums, clips, part.double().cpu().numpy())
            np.add.at(self.counts[n], clips, member.sum(1)[..., None].double().cpu().numpy())

    def _merge(self, clip: int, count: Any, mean: Any, squares: Any, highest: Any) -> None:
        """Merge the moments of a chunk into its clip's (Chan, Golub & LeVeque 1979)."""
        before, delta = self.count[clip].copy(), mean - self.mean[clip]
        total = before + count
        self.mean[clip] += delta * count / total
        self.squares[clip] += squares + delta**2 * before * count / total
        self.max[clip] = np.maximum(self.max[clip], highest)
        self.count[clip] = total

    def statistic(self, name: Statistic, segments: int) -> NDArray[np.float64]:
        """Return one statistic of every clip, (N, D), or (N, segments * D) for the mean."""
        if name == "mean" and segments > 1:
            counts = self.counts[segments]
            means = self.sums[segments] / np.maximum(counts, 1)
            filled = np.where(counts > 0, means, self.mean[:, None])  # clips of very few frames
            return filled.reshape(len(filled), -1)
        if name == "std":
            return np.sqrt(self.squares / self.count)
        if name == "delta":
            return np.sqrt(self.steps / np.maximum(self.n_steps, 1))
        return {"mean": self.mean, "max": self.max, "max+mean": self.max + self.mean}[name]


def squared_steps(frames: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return sums of squared differences of neighbours among frames (B, T, D), and their numbers.

    (B, D) and (B, 1); only those count that both have weight, (B, T, 1), 0 or 1.
    """
    both = weight[:, 1:] * weight[:, :-1]
    return ((frames[:, 1:] - frames[:, :-1]).square() * both).sum(1), both.sum(1)


def _repeated(log_mel: Tensor, spans: Tensor) -> Tensor:
    """Fill padding with the clip itself, again and again, (B, T, F)."""
    first, end = spans.long().split(1, dim=1)
    if bool((first == 0).all() and (end == log_mel.shape[1]).all()):
        return log_mel
    position = torch.arange(log_mel.shape[1])
    source = (position - first) % (end - first) + first  # (B, T)
    return log_mel.gather(1, source[..., None].expand_as(log_mel))


def _cut(
    heard: Heard, lengths: NDArray[np.int64]
) -> tuple[Chunks, NDArray[np.int64], NDArray[np.int64]]:
    """Return the chunks of every clip, equal ones of at most 12 s, or one random crop.

    And the first frame and the number of frames that are heard of each clip.
    """
    item, store, clips = heard.item, heard.store, np.arange(len(lengths))
    if (crop := item.crop_frames) is not None:
        ids = store.clip_ids[heard.rows]
        drawn = [derive_seed(item.seed, "random crop", str(name)) / 2**63 for name in ids]
        start = (np.array(drawn) * (lengths - crop + 1)).astype(np.int64)
        start = np.where(lengths < crop, -((crop - lengths) // 2), start)
        first = np.maximum(start, 0)
        heard_of = np.minimum(start + crop, lengths) - first
        return Chunks(clips, start, np.full(len(clips), crop)), first, heard_of
    shortest = MULTIPLE if item.padding == "none" else WINDOW
    longest = store.front_end.frames(MAX_SECONDS)
    units, n_chunks = -(-lengths // MULTIPLE), -(-lengths // longest)
    clip = np.repeat(clips, n_chunks)
    number = np.arange(len(clip)) - np.repeat(np.cumsum(n_chunks) - n_chunks, n_chunks)
    begin = units[clip] * number // n_chunks[clip] * MULTIPLE
    end = units[clip] * (number + 1) // n_chunks[clip] * MULTIPLE
    length = np.maximum(end - begin, shortest)
    padded = -((shortest - lengths[clip]) // 2)
    chunks = Chunks(clip, np.where(lengths[clip] < shortest, padded, begin), length)
    return chunks, np.zeros_like(lengths), lengths


def _of_equal_length(chunks: Chunks) -> Iterator[Chunks]:
    """Yield chunks of equal length, short ones first, so many at once as fill a batch."""
    order = np.argsort(chunks.length, kind="stable")
    edges = np.flatnonzero(np.diff(chunks.length[order])) + 1
    for same in np.split(order, edges):
        size = max(1, BATCH_FRAMES // int(chunks.length[same].max(initial=1)))
        for begin in range(0, len(same), size):
            chosen = same[begin : begin + size]
            yield Chunks(chunks.clip[chosen], chunks.start[chosen], chunks.length[chosen])


class Embedding(NamedTuple):
    """What an encoder says about one clip, float32.

    ``frames`` has a vector for each of the time steps of the deepest tap that is read out, as far
    as they lie wholly in the clip, (T, D'), ``clip`` one for the whole clip, (D,), and ``seconds``
    where the centre of each frame lies, (T,).
    """

    frames: Floats
    clip: Floats
    seconds: Floats


def embed_with_frames(
    trained: TrainedEncoder, store: LogMelStore, item: ReadOut, *, device: Device = "auto"
) -> list[Embedding]:
    """Embed all clips of a store, keeping the frames that their vectors are statistics of.

    Of clips that are heard with and without their mean: the frames of those as they are.
    """
    tap = deepest_tap(trained.encoder, item.of(trained).taps)
    parts: list[dict[int, tuple[Floats, NDArray[np.float64]]]]
    parts = [{} for _ in range(len(store))]  # of each clip, by their first frame

    def keep(batch: Chunks, found: dict[str, Moments]) -> None:
        features, mask, centres = (part.cpu() for part in found[tap])
        for i, (clip, start) in enumerate(zip(batch.clip, batch.start, strict=True)):
            frames = features[i, mask[i]].float().numpy()
            parts[clip][int(start)] = frames, centres[i, mask[i]].numpy() + start

    rows = np.arange(len(store))
    (vectors,) = read_out(trained, store, rows, [item], device=device, each=keep)
    seconds_per_frame = store.front_end.hop / store.front_end.sample_rate
    embeddings = []
    for chunks, vector, length in zip(parts, vectors, store.n_frames, strict=True):
        frames, centres = zip(*(chunks[start] for start in sorted(chunks)), strict=True)
        seconds = np.concatenate(centres).clip(0, length - 1) * seconds_per_frame
        embeddings.append(Embedding(np.concatenate(frames), vector, seconds.astype(np.float32)))
    return embeddings


def even_frames(
    trained: TrainedEncoder,
    store: LogMelStore,
    item: ReadOut,
    *,
    max_hop_ms: float,
    device: Device = "auto",
) -> tuple[Floats, Floats]:
    """Embed equally long clips at even moments from their first frame to their last.

    Returned are the frames of the deepest tap that is read out (of clips that are heard both ways,
    as they are), (N, T, D') float32, and their centres in milliseconds, (T,) float32: at most
    ``max_hop_ms`` apart, but never less than the front-end's own hop. Where the encoder's own hop
    is longer, it passes over the clip several times, each time a fraction of its stride later, and
    the passes are interleaved.
    """
    rows, front_end = np.arange(len(store)), store.front_end
    heard = Heard(trained, store, rows, item.of(trained).hearings[0], pick_device(device))
    tap = deepest_tap(trained.encoder, heard.item.taps)
    encoder = inference_copy(trained.encoder, [tap], heard.device)
    stride, hop_ms = encoder.strides[tap], 1000 * front_end.hop / front_end.sample_rate
    step = even_step(stride, max_hop_ms / hop_ms)
    lead = (stride - 1) // 2  # frames of padding that put the first centre at the first frame
    n_moments = -(-int(store.n_frames[0]) // step)
    longest = max(1, front_end.frames(MAX_SECONDS) // stride)
    moments = np.empty((len(store), n_moments, encoder.dims[tap]), np.float32)
    places = [
        (number * step - lead + first * stride, min(longest, count - first) * stride)
        for number in range(min(stride // step, n_moments))  # each pass
        for count in [-(-(n_moments - number) * step // stride)]
        for first in range(0, count, longest)
    ]
    start, length = (np.tile(part, len(store)) for part in np.array(places, dtype=np.int64).T)
    chunks = Chunks(np.repeat(rows, len(places)), start, length)
    with torch.inference_mode():
        for batch, inputs, spans in heard.batches(chunks):
            whole = torch.tensor([0.0, inputs.shape[3]], device=heard.device).expand_as(spans)
            frames = encoder.moments(inputs, whole)[tap].features.float().cpu().numpy()
            first = (batch.start + lead) // step
            for clip, moment, values in zip(batch.clip, first, frames, strict=True):
                end = moment + len(values) * (stride // step)
                moments[clip, moment : end : stride // step] = values
    centres = np.arange(n_moments) * step + (stride - 1) / 2 - lead
    return moments, (centres * hop_ms).astype(np.float32)


def even_step(stride: int, most: float) -> int:
    """Return the largest divisor of ``stride`` that is at most ``most``, at least 1.

    >>> even_step(8, 5.0), even_step(4, 5.0), even_step(8, 0.5)
    (4, 4, 1)
    """
    return max(n for n in range(1, stride + 1) if stride % n == 0 and (n <= most or n == 1))
