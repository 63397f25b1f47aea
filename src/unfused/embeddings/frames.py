"""Frame embeddings: what an encoder says about each moment of a clip."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ..data.store import LogMelStore
from ..encoders.encoder import Moments
from ..encoders.trained import TrainedEncoder
from ..training.precision import pick_device
from .read_out import (
    MAX_SECONDS,
    Chunks,
    Floats,
    Heard,
    ReadOut,
    deepest_tap,
    inference_copy,
    read_out,
)


class Embedding(NamedTuple):
    """What an encoder says about one clip.

    Attributes:
        frames: One vector for each of the time steps of the deepest tap that is read out, as far
            as they lie wholly in the clip, (T, D') float32.
        clip: One vector for the whole clip, (D,) float32.
        seconds: Where the centre of each frame lies, (T,) float32.
    """

    frames: Floats
    clip: Floats
    seconds: Floats


def embed_with_frames(
    trained: TrainedEncoder,
    store: LogMelStore,
    item: ReadOut,
    *,
    device: torch.device | str = "auto",
) -> list[Embedding]:
    """Embed all clips of a store, keeping the frames that their vectors are statistics of."""
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
    device: torch.device | str = "auto",
) -> tuple[Floats, Floats]:
    """Embed equally long clips at even moments from their first frame to their last.

    Returned are the frames of the deepest tap that is read out, (N, T, D') float32, and their
    centres in milliseconds, (T,) float32: at most ``max_hop_ms`` apart, but never less than the
    front-end's own hop. Where the encoder's own hop is longer, it passes over the clip several
    times, each time a fraction of its stride later, and the passes are interleaved.
    """
    rows, front_end = np.arange(len(store)), store.front_end
    heard = Heard(trained, store, rows, item.of(trained), pick_device(device))
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
