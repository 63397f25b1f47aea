"""Pages on which pseudo-clusters can be listened to; the sounds are inside the page."""

from __future__ import annotations

import base64
import html
import io
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import soundfile

from .cluster_clips import ClusterClips, HeardClip, HeardCluster

Escape = Callable[[str], str]
CLUSTERS, CLIPS = 8, 3
"""How many clusters, and clips of each, a page among other things shows."""
_MOST = 64  # clusters on a page of their own
_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto;
  padding: 0 1rem; }}
audio {{ height: 2rem; width: 16rem; }}</style></head>
<body><h1>{title}</h1>{body}</body></html>
"""


def listening_page(clips: ClusterClips, title: str) -> str:
    """Return a page of its own with every cluster, up to the 64 largest."""
    body = f"<p>{_HOW_TO}</p>{players_html(clips, n_clusters=_MOST)}"
    return _PAGE.format(title=html.escape(title), body=body)


_HOW_TO = (
    "The clips nearest to the centre of each pseudo-cluster, with their true label where it is "
    "known. The clustering never saw a label: a cluster whose clips sound alike is one a student "
    "can learn from, whatever it is called."
)


def listening_section(tasks: Mapping[str, ClusterClips]) -> str:
    """Return a section of the report: of each task the largest clusters."""
    n_clusters = max(2, CLUSTERS // max(1, len(tasks)))
    parts = [f"<p>{_HOW_TO}</p>"]
    for name, clips in tasks.items():
        parts.append(f"<h3>{html.escape(name)}</h3>{players_html(clips, n_clusters=n_clusters)}")
    return "".join(parts)


def players_html(
    clips: ClusterClips,
    *,
    n_clusters: int = CLUSTERS,
    n_clips: int = CLIPS,
    escape: Escape = html.escape,
) -> str:
    """Return players of the largest clusters as a piece of a page.

    Args:
        clips: The clusters.
        n_clusters: How many of them.
        n_clips: How many clips of each.
        escape: Makes HTML of a text.
    """
    shown = clips.largest(n_clusters)
    rest = len(clips.clusters) - len(shown)
    note = f"<p>The {len(shown)} largest of {len(clips.clusters)} clusters.</p>" if rest else ""
    return note + "".join(_cluster(one, clips.sample_rate, n_clips, escape) for one in shown)


def _cluster(cluster: HeardCluster, sample_rate: int, n_clips: int, escape: Escape) -> str:
    heading = f"<h4>These are the clips of pseudo-cluster {cluster.number}</h4>"
    rows = [_clip(clip, sample_rate, escape) for clip in cluster.clips[:n_clips]]
    table = f"<table>{''.join(rows)}</table>"
    return f"{heading}<p>{escape(cluster_words(cluster))}</p>{table}"


def cluster_words(cluster: HeardCluster) -> str:
    """Return size and purity in words.

    >>> cluster_words(HeardCluster(7, 21, 20, "dog", 0.75, ()))
    '21 clips; 75 % of the 20 with a known label are dog'
    """
    size = f"{cluster.size:,} clip{'s' * (cluster.size != 1)}"
    if math.isnan(cluster.purity):
        return f"{size}; no true label is known"
    known = "them" if cluster.n_labelled == cluster.size else (
        f"the {cluster.n_labelled:,} with a known label")  # fmt: skip
    return f"{size}; {100 * cluster.purity:.0f} % of {known} are {cluster.majority}"


def _clip(clip: HeardClip, sample_rate: int, escape: Escape) -> str:
    label = escape(clip.label) if clip.label else "<em>no label</em>"
    sound = (
        f"<em>missing: {escape(clip.missing)}</em>"
        if clip.samples is None
        else audio_html(clip.samples, sample_rate)
    )
    return f"<tr><td>{sound}</td><td>{label}</td><td><small>{escape(clip.file)}</small></td></tr>"


def audio_html(samples: np.ndarray, sample_rate: int) -> str:
    """Return a player of mono samples in [-1, 1], as FLAC inside the page."""
    source = sound_address(samples, sample_rate)
    return f'<audio controls src="{source}"></audio>'


def sound_address(samples: Sequence[float] | np.ndarray, sample_rate: int) -> str:
    """Return mono samples in [-1, 1] as the data address of a FLAC file."""
    file = io.BytesIO()
    soundfile.write(file, np.asarray(samples), sample_rate, format="FLAC", subtype="PCM_16")
    return "data:audio/flac;base64," + base64.b64encode(file.getvalue()).decode("ascii")
