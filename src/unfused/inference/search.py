"""Which clips to label next, and which are like another: on vectors that are there already."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.preprocessing import StandardScaler

from ..core.errors import UserError
from .classifier import Classifier

_MOST = 5000  # clips among which diversity is looked for
_VECTOR = r"^e\d+$"
_END = 0.02  # seconds from the end of a file within which a segment goes to its end


def clips_to_label(
    model: Classifier,
    predictions: pd.DataFrame,
    embeddings: pd.DataFrame,
    seconds: pd.Series,
    *,
    n_clips: int = 50,
    like: Any = None,
    known: pd.DataFrame | None = None,
    per_clip: int = 10,
    seed: int = 0,
) -> pd.DataFrame:
    """Return the segments of classified recordings that are to be labelled next.

    Predictions and embeddings are rows that the model's
    :meth:`~unfused.inference.classifier.Classifier.classify` made; ``seconds`` is the length of
    recordings by path, of those that are known as a whole. Those are chosen that
    :func:`label_next` finds, told ``per_clip`` and ``seed``, or, where ``like`` is a recording,
    those most like it; clips in ``known``, by ``path`` and ``start``, have a label by now.

    Returns:
        Columns path, start, end (seconds; NaN: to the end of the file), label (empty), suggestion
        and second (the two most likely classes), probability.

    Raises:
        UserError: Another model made the vectors.
    """
    if embeddings.attrs.get("model") != model.digest_:
        raise UserError("another model classified last: run the pipeline classify again first")
    place = [predictions["path"], predictions["start_seconds"].round(2)]
    of_known = [] if known is None else [known["path"], known["start"].round(2)]
    labelled = pd.MultiIndex.from_arrays(place).isin(list(zip(*of_known, strict=True)))
    shown = ~labelled & ~np.isinf(predictions["strangeness"].to_numpy(float))  # silence
    said, vectors = predictions[shown], embeddings.filter(regex=_VECTOR).to_numpy("f4")[shown]
    likely = model.head_.probabilities(vectors)
    if like is None:
        rows = label_next(vectors, likely, n_clips, per_clip=per_clip, seed=seed)
    else:
        query = model.classify(like).embeddings.filter(regex=_VECTOR).mean()
        rows, _ = nearest(vectors, query.to_numpy(), n_clips)
    said, names = said.iloc[rows], model.classes_[np.argsort(-likely[rows])[:, :2]]
    to_its_end = said["path"].map(seconds) - said["end_seconds"] < _END
    return pd.DataFrame({
        "path": said["path"], "start": said["start_seconds"],
        "end": said["end_seconds"].where(~to_its_end), "label": "",
        "suggestion": names[:, 0], "second": names[:, 1], "probability": likely[rows].max(axis=1),
    }).reset_index(drop=True)  # fmt: skip


def label_next(
    vectors: NDArray[np.floating],
    probabilities: NDArray[np.floating],
    n_clips: int,
    *,
    per_clip: int = 10,
    seed: int = 0,
) -> NDArray[np.int64]:
    """Return the clips that are most worth a label, the most doubtful first.

    Those with the smallest margins between their two most likely classes, of two or more, are
    clustered, ``per_clip`` for each that is wanted, and of each cluster the most doubtful one is
    taken: doubt alone would ask for the same sound many times. Vectors are (N, D), probabilities
    (N, C).
    """
    n_clips = min(n_clips, len(vectors))
    if n_clips == 0:
        return np.empty(0, np.int64)
    first_two = np.partition(probabilities, -2, axis=1)[:, -2:]
    margins = first_two[:, 1] - first_two[:, 0]
    doubtful = np.argsort(margins, kind="stable")[: max(n_clips, min(n_clips * per_clip, _MOST))]
    points = StandardScaler().fit_transform(vectors[doubtful])
    clusters = KMeans(n_clips, n_init=1, random_state=seed).fit_predict(points)
    _, firsts = np.unique(clusters, return_index=True)  # doubtful ones are in order
    chosen = np.sort(firsts)
    rest = np.setdiff1d(np.arange(len(doubtful)), chosen)[: n_clips - len(chosen)]  # equal clips
    return doubtful[np.sort(np.concatenate([chosen, rest]))]


def nearest(
    vectors: NDArray[np.floating], query: NDArray[np.floating], n_clips: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the clips, (N, D), most like another one, (D,): at most N, and their cosines.

    These are cosines on standardised axes.
    """
    if not len(vectors):
        return np.empty(0, np.int64), np.empty(0)
    scaler = StandardScaler().fit(vectors)
    cosines = cosine_similarity(scaler.transform(vectors), scaler.transform(query[None]))[:, 0]
    order = np.argsort(-cosines, kind="stable")[:n_clips]
    return order, cosines[order]
