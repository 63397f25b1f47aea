"""What pseudo-clusters sound like: of each, the clips nearest to its centroid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ..data.label_sets import label_counts
from ..data.reading import UnreadableAudio, read_mono

_PEAK = 0.9


@dataclass(frozen=True)
class HeardClip:
    """A clip of a cluster.

    Attributes:
        clip_id: Its name in the manifest.
        file: The name of its file.
        label: Its true label, empty where unknown.
        distance: Euclidean distance to the centroid, of points of length 1.
        samples: Its beginning, mono, (N,) float32; None where the file cannot be read any more.
        missing: Why not.
    """

    clip_id: str
    file: str
    label: str
    distance: float
    samples: np.ndarray | None
    missing: str = ""


@dataclass(frozen=True)
class HeardCluster:
    """A pseudo-cluster.

    Attributes:
        number: The pseudo-label.
        size: How many clips it has.
        n_labelled: How many of them have a true label.
        majority: The most frequent true label, empty where none is known.
        purity: Share of the labelled clips that have it; NaN where there are none.
        clips: Those nearest to the centroid, the nearest first.
    """

    number: int
    size: int
    n_labelled: int
    majority: str
    purity: float
    clips: tuple[HeardClip, ...]


@dataclass(frozen=True)
class ClusterClips:
    """All clusters of a task, by number, and the sample rate of their clips in Hz."""

    clusters: tuple[HeardCluster, ...]
    sample_rate: int

    def largest(self, n: int) -> tuple[HeardCluster, ...]:
        """Return the n largest clusters, the largest first."""
        return tuple(sorted(self.clusters, key=lambda one: (-one.size, one.number))[:n])


def cluster_clips(
    features: pd.DataFrame,
    pseudo_labels: pd.Series,
    manifest: pd.DataFrame,
    *,
    n_clips: int = 3,
    seconds: float = 2.0,
    sample_rate: int = 16000,
) -> ClusterClips:
    """Return, for each pseudo-cluster, the clips nearest to its centroid.

    Args:
        features: The points that were clustered: clip_id, and a column per dimension.
        pseudo_labels: The cluster of each of these clips; the index is the clip_id.
        manifest: Columns clip_id, path, offset, frames, sample_rate, label and multi_label.
        n_clips: Clips per cluster, fewer where it has fewer.
        seconds: Of each clip, from its beginning.
        sample_rate: Of the sounds, in Hz.
    """
    ids = features["clip_id"].to_numpy()
    points = features.drop(columns="clip_id").to_numpy(np.float32)
    numbers = pseudo_labels.loc[ids].to_numpy()
    files = manifest.drop_duplicates("clip_id").set_index("clip_id")
    found = []
    for number in np.unique(numbers):
        members = np.flatnonzero(numbers == number)
        distances = _to_centroid(points[members])
        nearest = np.argsort(distances, kind="stable")[:n_clips]
        clips = tuple(
            _heard(files.loc[ids[members[i]]], distances[i], seconds, sample_rate) for i in nearest
        )
        found.append(_cluster(int(number), files.loc[ids[members]], clips))
    return ClusterClips(tuple(found), sample_rate)


def _to_centroid(points: np.ndarray) -> np.ndarray:
    distances: np.ndarray = np.linalg.norm(points - points.mean(axis=0), axis=1)
    return distances


def _cluster(number: int, members: pd.DataFrame, clips: Sequence[HeardClip]) -> HeardCluster:
    labels = members["label"]
    labels = labels[labels.notna() & (labels.astype(str) != "")].astype(str)
    several = bool(members["multi_label"].any())
    counts = label_counts(labels) if several else labels.value_counts().to_dict()
    majority = min(counts, key=lambda label: (-counts[label], label), default="")
    purity = counts[majority] / len(labels) if len(labels) else float("nan")
    return HeardCluster(number, len(members), len(labels), majority, purity, tuple(clips))


def beginning_of(clip: pd.Series, seconds: float, sample_rate: int) -> np.ndarray:
    """Return the first seconds of a clip of the manifest, (N,) float32.

    Raises:
        UnreadableAudio: The file is gone or damaged.
    """
    frames = min(int(clip["frames"]), max(1, int(seconds * clip["sample_rate"])))
    return read_mono(
        clip["path"], offset=int(clip["offset"]), frames=frames, sample_rate=sample_rate
    )


def _heard(clip: pd.Series, distance: float, seconds: float, sample_rate: int) -> HeardClip:
    label = "" if pd.isna(clip["label"]) else str(clip["label"])
    known = (str(clip.name), Path(clip["path"]).name, label, float(distance))
    try:
        samples = beginning_of(clip, seconds, sample_rate)
    except UnreadableAudio as error:  # moved since the log-mels were made
        return HeardClip(*known, None, str(error))
    peak = max(1e-6, float(np.abs(samples).max()))
    return HeardClip(*known, (samples * (_PEAK / peak)).astype(np.float32))
