"""What k-mix needs and makes: centroids, a bank of crops, examples to look at and to listen to."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..core.workspace import write_json
from .folder import FolderDataset
from .previews import described, picture_html, player_html
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
        from ..reporting.figures import k_mix_centroids

        return picture_html(k_mix_centroids(self.load()))


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


class KMixExamplesDataset(_FilesDataset):
    """:class:`~unfused.reporting.k_mix_examples.KMixExamples`: log-mels, and sounds as FLAC."""

    def load(self) -> Any:
        """Return the examples."""
        import soundfile

        from ..reporting.crop_sounds import Sound
        from ..reporting.k_mix_examples import STEPS, Example, KMixExamples, Pair

        facts, examples = self._facts(), []
        for number, kept in enumerate(facts["examples"]):
            images = np.load(self._filepath / f"{number}.npz")
            sounds = {}
            for step in STEPS:
                samples, _ = soundfile.read(self._sound(number, step), dtype="float32")
                sounds[step] = Sound(samples, kept["original"][step])
            log_mels = {step: images[step] for step in STEPS}
            examples.append(Example(Pair(**kept["pair"]), log_mels, sounds))
        return KMixExamples(tuple(examples), facts["sample_rate"], facts["hop_seconds"])

    def save(self, data: Any) -> None:
        """Write every sound as a file that any player plays, and what belongs to it."""
        import soundfile

        self._begin()
        kept = []
        for number, example in enumerate(data.examples):
            np.savez(self._filepath / f"{number}.npz", **example.log_mels)
            for step, sound in example.sounds.items():
                soundfile.write(self._sound(number, step), sound.samples, data.sample_rate)
            original = {step: sound.original for step, sound in example.sounds.items()}
            kept.append({"pair": asdict(example.pair), "original": original})
        facts = {"sample_rate": data.sample_rate, "hop_seconds": data.hop_seconds}
        write_json(self._filepath / "facts.json", {**facts, "examples": kept})

    @described
    def preview(self) -> str:
        """Return a picture of the examples and a player for each step of each."""
        from ..reporting.figures import kmix_pairs

        image = picture_html(kmix_pairs(self.load()))
        rows = [
            self._players(number, kept) for number, kept in enumerate(self._facts()["examples"])
        ]
        note = (
            "<p>Sounds marked ≈ are made from the log-mel by Griffin-Lim: an approximation, since "
            "a log-mel has no phase.</p>"
        )
        return f"<div>{image}{note}<table>{''.join(rows)}</table></div>"

    def _players(self, number: int, kept: dict[str, Any]) -> str:
        cells = [f"<td>row {number + 1}</td>"]
        for step, original in kept["original"].items():
            player = player_html(self._sound(number, step).read_bytes(), "flac")
            cells.append(f"<td>{'' if original else '≈ '}{step}<br>{player}</td>")
        return f"<tr>{''.join(cells)}</tr>"

    def _facts(self) -> dict[str, Any]:
        text = (self._filepath / "facts.json").read_text(encoding="utf-8")
        return dict(json.loads(text))

    def _sound(self, number: int, step: str) -> Path:
        return self._filepath / f"{number}_{step}.flac"
