"""What pseudo-clusters sound like, as files: sounds, an index, and a page that plays them."""

from __future__ import annotations

import math
import shutil
from typing import Any

import pandas as pd

from .folder import FolderDataset
from .previews import described, verbatim

_INDEX = "index.csv"


class ClusterClipsDataset(FolderDataset[Any]):
    """A folder of :class:`~unfused.reporting.cluster_clips.ClusterClips`.

    ``index.csv`` has one row per clip, ``cluster-<number>/<rank>.wav`` is its sound, and
    ``index.html`` plays all of them without needing anything beside it.
    """

    def load(self) -> Any:
        """Return the clusters with their sounds."""
        from ..reporting.cluster_clips import ClusterClips

        text = {"clip_id": str, "file": str, "label": str, "majority": str, "missing": str}
        index = pd.read_csv(
            self._filepath / _INDEX, dtype=text, keep_default_na=False, na_values={"purity": [""]}
        )
        clusters = tuple(self._cluster(rows) for _, rows in index.groupby("cluster"))
        return ClusterClips(clusters, int(index["sample_rate"].iloc[0]))

    def save(self, data: Any) -> None:
        """Write everything anew, beside what was there, which goes when the new is whole."""
        import soundfile

        from ..reporting.cluster_players import listening_page

        aside = self._filepath.with_name(f".{self._filepath.name}.unfinished")
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        rows = []
        for cluster in data.clusters:
            for rank, clip in enumerate(cluster.clips):
                if clip.samples is not None:
                    file = aside / _sound(cluster.number, rank)
                    file.parent.mkdir(exist_ok=True)
                    soundfile.write(file, clip.samples, data.sample_rate, subtype="PCM_16")
                rows.append({"cluster": cluster.number, "rank": rank, **_facts(cluster, clip)})
        page = listening_page(data, "Listen to the pseudo-clusters")
        (aside / "index.html").write_text(page, encoding="utf-8")
        table = pd.DataFrame(rows).assign(sample_rate=data.sample_rate)
        table.to_csv(aside / _INDEX, index=False)
        if self._filepath.exists():
            shutil.rmtree(self._filepath)
        aside.rename(self._filepath)

    @described
    def preview(self, n_clusters: int = 8, n_clips: int = 3) -> str:
        """Return players of the largest clusters."""
        from ..reporting.cluster_players import players_html

        clips = self.load()
        return players_html(clips, n_clusters=n_clusters, n_clips=n_clips, escape=verbatim)

    def _cluster(self, rows: pd.DataFrame) -> Any:
        import soundfile

        from ..reporting.cluster_clips import HeardClip, HeardCluster

        clips, first = [], rows.iloc[0]
        for row in rows.sort_values("rank").to_dict("records"):
            samples = None
            if not row["missing"]:
                samples, _ = soundfile.read(
                    self._filepath / _sound(row["cluster"], row["rank"]), dtype="float32"
                )
            known = (row["clip_id"], row["file"], row["label"], float(row["distance"]))
            clips.append(HeardClip(*known, samples, row["missing"]))
        size, n_labelled = int(first["size"]), int(first["n_labelled"])
        purity = float(first["purity"]) if n_labelled else math.nan
        number = int(first["cluster"])
        return HeardCluster(number, size, n_labelled, first["majority"], purity, tuple(clips))

    def _exists(self) -> bool:
        return (self._filepath / _INDEX).is_file()  # written last


def _facts(cluster: Any, clip: Any) -> dict[str, Any]:
    """Return a row of the index, without the sound."""
    of_cluster = {name: getattr(cluster, name) for name in ("size", "n_labelled", "majority")}
    of_clip = {name: getattr(clip, name) for name in ("clip_id", "file", "label", "distance")}
    return {**of_cluster, "purity": cluster.purity, **of_clip, "missing": clip.missing}


def _sound(cluster: int, rank: int) -> str:
    return f"cluster-{cluster:03d}/{rank}.wav"
