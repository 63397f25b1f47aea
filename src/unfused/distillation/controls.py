"""Controls: what a student may learn in place of the teacher's clusters, and how good either is.

A gain over a random encoder may come from self-distillation as such rather than from the teacher.
The controls tell: clusters of a random encoder, or of any embedder such as ``mfcc_statistics``, and
the teacher's own, shuffled. The true classes in their place bound from above what better
pseudo-labels could bring; only that control ever sees them.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import adjusted_mutual_info_score, normalized_mutual_info_score

from ..core.errors import UserError
from ..core.seeding import numpy_generator
from ..embeddings.embedder import Embedder, EncoderEmbedder
from ..tasks.corpus import Corpus
from ..tasks.label_kinds import MULTI_LABEL
from ..training.estimator import untrained_like
from .unfused import UnFuSeD


def labels_by_source(
    model: UnFuSeD, audio: Corpus, train: Corpus, controls: Sequence[str]
) -> tuple[dict[str, pd.DataFrame], pd.DataFrame]:
    """Return the teacher's pseudo-labels and those of each control, and the teacher's points.

    The model says how to cluster the audio, which has no labels; ``train`` are the labelled clips
    that train, for ``true_labels`` alone. Controls are ``shuffled``, ``true_labels``,
    ``random_encoder``, or names of embedders. Labels, by source, ``teacher`` first, and points are
    as in :class:`~unfused.distillation.unfused.Clusters`.

    Raises:
        UserError: A control makes no sense for this teacher or this task.
    """
    labels, points = model.cluster(audio)
    found = {"teacher": labels}
    for name in controls:
        if name == "shuffled":
            order = numpy_generator(model.seed, "shuffled").permutation(len(labels))
            found[name] = labels.take(order).set_axis(labels.index)
        elif name == "true_labels":
            found[name] = _true_classes(audio, train)
        else:
            other = _random(model) if name == "random_encoder" else name
            found[name] = copy(model).set_params(teacher=other).cluster(audio).labels
    return found, points


def cluster_quality(labels: pd.Series, truth: pd.Series) -> dict[str, Any]:
    """Return how much clusters say about true labels; never used for training.

    Normalised mutual information grows with the number of clusters even for random ones; adjusted
    mutual information is 0 on average for those. Both are NaN without labelled clips. Cluster and
    true label are those of each clip, by clip_id; clips without the latter do not count.

    >>> clips = list("abcd")
    >>> found = cluster_quality(pd.Series([0, 0, 1, 1], clips), pd.Series(list("yyxx"), clips))
    >>> found["sizes"], found["ami"]
    ([2, 2], 1.0)
    """
    known = truth[truth.notna() & (truth.astype(str) != "") & truth.index.isin(labels.index)]
    pair, sizes = (known.astype(str), labels.loc[known.index]), np.bincount(labels)
    return {
        "clips": len(labels),
        "n_clusters": len(sizes),
        "sizes": sizes.tolist(),
        "n_labelled": len(known),
        "nmi": float(normalized_mutual_info_score(*pair)) if len(known) else float("nan"),
        "ami": float(adjusted_mutual_info_score(*pair)) if len(known) else float("nan"),
    }


def _random(model: UnFuSeD) -> Embedder:
    """Return the teacher with the weights that its training started from."""
    teacher = model.teacher_embedder()
    if not isinstance(teacher, EncoderEmbedder):
        raise UserError(
            f"the control random_encoder is the teacher before its training, and {teacher.name!r} "
            "is no encoder; take it out of controls"
        )
    encoder = teacher.trained.encoder
    random = untrained_like(teacher.trained, encoder.name, encoder.settings, model.seed)
    return EncoderEmbedder(random, teacher.read_out)


def _true_classes(audio: Corpus, train: Corpus) -> pd.DataFrame:
    """Return the class of each clip, numbered."""
    if train.kind is MULTI_LABEL or set(audio.clips["clip_id"]) != set(train.clips["clip_id"]):
        raise UserError(
            "the control true_labels needs one class for each clip that is learnt from; here clips "
            "have several, or unlabelled or held-out ones are among them: take it out of controls"
        )
    numbers = np.unique(train.labels, return_inverse=True)[1]
    return pd.DataFrame({"pseudo_label": numbers}, pd.Index(train.clips["clip_id"]))
