"""What k-mix needs and makes: centroids and a bank of crops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ..core.workspace import write_json
from .folder import FolderDataset
from .previews import described, picture_html
from .tables import ParquetTableDataset

_SHOWN_CLUSTERS, _SHOWN_CROPS = 4, 3


class _FilesDataset(FolderDataset[Any]):
    """An object that is kept as several files in one folder."""

    def _exists(self) -> bool:
        return (self._filepath / "facts.json").is_file()  # written last

    def _begin(self) -> None:
        """Make the folder, and unfinished until its facts are there."""
        self._filepath.mkdir(parents=True, exist_ok=True)
        (self._filepath / "facts.json").unlink(missing_ok=True)


class CentroidsDataset(ParquetTableDataset):
    """Centroids of k-mix, one row for each cluster of each fold."""

    @described
    def preview(self) -> str:
        """Return a picture of the first fold's centroids, the loudest last."""
        from ..reporting.figures import log_mels
        from ..views.k_mix_centroids import centroids_of

        table = self.load()
        centroids = centroids_of(table, table["fold"].min())
        loudest_last = centroids[centroids.mean(1).argsort()]
        shown = {f"{len(centroids)} centroids": loudest_last}
        return picture_html(log_mels(shown, hop_seconds=1, xlabel="cluster, the loudest last"))


class KMixBankDataset(_FilesDataset):
    """A :class:`~unfused.training.k_mix_bank.KMixBank`: crops in float16 and a table of them."""

    def load(self) -> Any:
        """Return the bank, its crops in float32."""
        import torch

        from ..training.k_mix_bank import KMixBank
        from ..views.view import View

        crops = np.load(self._filepath / "crops.npy").astype(np.float32)
        table = pd.read_parquet(self._filepath / "entries.parquet")
        spans = table[["span_start", "span_end"]].to_numpy(dtype=np.float32, copy=True)
        view = View(torch.from_numpy(crops), torch.from_numpy(spans))
        facts = [table[name].to_numpy(copy=True) for name in ("clip_id", "start", "cluster")]
        return KMixBank(view, *facts)

    def save(self, data: Any) -> None:
        """Write the crops and the table."""
        self._begin()
        np.save(self._filepath / "crops.npy", data.view.log_mel.numpy().astype(np.float16))
        table = pd.DataFrame(
            {"clip_id": data.clip_ids, "start": data.starts, "cluster": data.clusters}
        )
        spans = data.view.spans.numpy()
        table = table.assign(span_start=spans[:, 0], span_end=spans[:, 1])
        table.to_parquet(self._filepath / "entries.parquet")
        write_json(self._filepath / "facts.json", {"crops": len(table)})

    @described
    def preview(self) -> str:
        """Return a picture of a few crops of the largest clusters."""
        from ..reporting.figures import log_mels

        bank = self.load()
        largest = pd.Series(bank.clusters).value_counts().index[:_SHOWN_CLUSTERS]
        shown = {
            f"cluster {cluster}, entry {entry}": bank.view.log_mel[entry, 0].numpy().T
            for cluster in largest
            for entry in np.flatnonzero(bank.clusters == cluster)[:_SHOWN_CROPS]
        }
        return picture_html(log_mels(shown))
