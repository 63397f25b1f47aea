"""Tables of what a classifier says about a store of new audio."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..core.errors import UserError
from ..data.store import LogMelStore
from ..embeddings.embed import embed_clips
from .classifier import Classifier, Prediction
from .segments import Segmentation, cut_segments

PLACE = ["path", "start_seconds", "end_seconds"]


def classify_store(
    classifier: Classifier,
    store: LogMelStore,
    manifest: pd.DataFrame,
    segmentation: Segmentation,
    *,
    top_k: int = 5,
    device: str = "auto",
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Embed and classify every segment of every clip.

    Args:
        classifier: The classifier.
        store: Log-mels, made with the front-end of its encoder.
        manifest: The store's clips, with columns clip_id, path, offset and sample_rate.
        segmentation: How long clips are cut.
        top_k: How many of the most likely classes are listed.
        device: Where to compute.

    Returns:
        Predictions, with columns path, start_seconds, end_seconds (within the file), label,
        probability, top_1, probability_1, ...; and embeddings, with columns path, start_seconds,
        end_seconds, e0, e1, ...; one row for each segment, in the manifest's order.

    Raises:
        ValueError: The store has another front-end, or ``top_k`` is less than 1.
    """
    if top_k < 1:
        raise UserError(f"top_k={top_k} must be at least 1")
    segments, table = cut_segments(store, segmentation)
    matrix = embed_clips(
        classifier.encoder,
        segments,
        np.arange(len(segments)),
        protocol=classifier.protocol,
        device=device,
    )[classifier.encoder.encoder.cut]
    places = segment_places(table, store, manifest)
    order = np.lexsort([places["start_seconds"], places["place"]])
    places, matrix = places[PLACE].iloc[order].reset_index(drop=True), matrix[order]
    said = prediction_columns(classifier.predictions(matrix), top_k)
    return pd.concat([places, said], axis=1), pd.concat(
        [places, _embedding_columns(matrix)], axis=1
    )


def segment_places(table: pd.DataFrame, store: LogMelStore, manifest: pd.DataFrame) -> pd.DataFrame:
    """Return where segments lie in their files; ``place`` is the clip's row in the manifest."""
    clips = manifest.reset_index(drop=True).assign(place=np.arange(len(manifest)))
    of_segment = clips.set_index("clip_id").loc[store.clip_ids[table["row"]]]
    begins = (of_segment["offset"] / of_segment["sample_rate"]).to_numpy()
    return pd.DataFrame(
        {
            "path": of_segment["path"].to_numpy(),
            "start_seconds": np.round(begins + table["start_seconds"].to_numpy(), 3),
            "end_seconds": np.round(begins + table["end_seconds"].to_numpy(), 3),
            "place": of_segment["place"].to_numpy(),
        }
    )


def prediction_columns(predictions: Sequence[Prediction], top_k: int) -> pd.DataFrame:
    """Return predictions as columns label, probability, top_1, probability_1, ..."""
    rows = []
    for found in predictions:
        row: dict[str, object] = {"label": found.label, "probability": round(found.probability, 4)}
        for rank, (name, value) in enumerate(list(found.probabilities.items())[:top_k], start=1):
            row |= {f"top_{rank}": name, f"probability_{rank}": round(value, 4)}
        rows.append(row)
    return pd.DataFrame(rows)


def _embedding_columns(matrix: NDArray[np.float32]) -> pd.DataFrame:
    return pd.DataFrame(matrix, columns=[f"e{i}" for i in range(matrix.shape[1])])
