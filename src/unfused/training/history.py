"""Metrics of a training: summed on the device, written as JSON lines, shown, judged at the end."""

import hashlib
import html
import json
import logging
import time
from collections.abc import Mapping, Sequence
from math import ceil, inf, isfinite
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from ..core.distributed import average
from ..core.outputs import write_bytes
from .checkpoint import CheckpointError

log = logging.getLogger(__name__)
_FILE = "history.parquet"
_LIMITS = {  # metric: its lowest and highest value in order, and what a value outside means
    "std": (0.01, inf, "all embeddings are one point"),
    # a participation ratio: 1 is a line; short runs that learn stay above 2
    "effective_rank": (1.5, inf, "all embeddings lie on one line"),
    "cluster_perplexity": (1.5, inf, "all clips are in one cluster"),
    # With a mean cosine m and the papers' temperature of 0.07 negatives' logits are (1 - m) / 0.07
    # = 0.14 below the largest there is: the loss hardly tells them from the positive.
    "queue_similarity": (-inf, 0.99, "all keys point one way"),
}
_MIN_CLIPS = 16  # fewer clips span too few directions to judge by
_SECONDS = 5.0  # between two writings of the page, and between two readings by the browser
_POINTS, _WIDTH, _HEIGHT = 200, 300, 90
_NO_CURVES = {"step", "epoch", "clips"}
_STYLE = """body { font: 15px sans-serif } figure { display: inline-block; margin: .5rem }
svg { background: #f3f5f8 } polyline { fill: none; stroke: #0b62a8; stroke-width: 1.5 }"""


class Meter:
    """Sums of a step's metrics that stay on the device until a row is due."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._sums: dict[str, tuple[Tensor, int]] = {}  # and how many values they are of

    def add(self, metrics: Mapping[str, Tensor | float]) -> None:
        """Add one step's scalars; the host does not wait for them."""
        for name, value in metrics.items():
            value = torch.as_tensor(value).detach().float().to(self.device, non_blocking=True)
            total, count = self._sums.get(name, (0.0, 0))
            self._sums[name] = (total + value, count + 1)

    def means(self) -> dict[str, float]:
        """Return each metric's mean since :meth:`clear`, over all processes; waits once."""
        if not self._sums:
            return {}
        sums = torch.stack([total for total, _ in self._sums.values()])
        average([sums])
        rows = zip(self._sums.items(), sums.tolist(), strict=True)
        return {name: total / count for (name, (_, count)), total in rows}

    def clear(self) -> None:
        """Start the next row."""
        self._sums.clear()

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint needs: sums over all processes, which all must ask for."""
        state = {name: (total.clone(), count) for name, (total, count) in self._sums.items()}
        average(total for total, _ in state.values())
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue a row that a checkpoint interrupted."""
        self._sums = dict(state)


class MetricsFile:
    """A file of JSON lines, one row each ``log_every`` steps, and a page with their curves."""

    def __init__(self, path: Path, title: str = "") -> None:
        self.path, self.title, self.page = path, html.escape(title), path.with_name("live.html")
        self.rows: list[dict[str, Any]] = []  # written, or kept by `begin`
        self._hash, self._size, self._shown = hashlib.blake2b(digest_size=12), 0, -inf

    @property
    def facts(self) -> list[Any]:
        """Size in bytes and digest of all that was written, for a checkpoint."""
        return [self._size, self._hash.hexdigest()]

    def append(self, row: Mapping[str, Any]) -> None:
        """Write one row; what is not finite becomes null."""
        strict = {
            name: None if isinstance(value, float) and not isfinite(value) else value
            for name, value in row.items()
        }
        line = json.dumps(strict).encode() + b"\n"
        with self.path.open("ab") as file:
            file.write(line)
        self._note(line)
        self.rows.append(strict)

    def begin(self, facts: list[Any] | None) -> None:
        """Make the file, or cut it back to what it was by its :attr:`facts`.

        Raises:
            CheckpointError: It is no longer what it was.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        kept = self.path.read_bytes()[: facts[0]] if facts and self.path.exists() else b""
        self._note(kept)
        if facts and self.facts != facts:
            raise CheckpointError(
                f"{self.path} is not what stood beside the checkpoint: delete checkpoint.pt there "
                "to train from the start, or train into another folder"
            )
        self.rows = _rows(kept)
        write_bytes(self.path, kept)

    def _note(self, written: bytes) -> None:
        self._hash.update(written)
        self._size += len(written)

    def table(self) -> pd.DataFrame:
        """Return all rows, those of other processes, too."""
        return pd.DataFrame(_rows(self.path.read_bytes()))

    def show(self, total: int, *, done: bool = False) -> None:
        """Write the page, which reloads itself until done, unless it is only some seconds old."""
        now = time.monotonic()
        if not self.rows or (not done and now - self._shown < _SECONDS):
            return
        self._shown = now
        again = "" if done else f'<meta http-equiv="refresh" content="{_SECONDS:.0f}">'
        names = dict.fromkeys(name for row in self.rows for name in row if name not in _NO_CURVES)
        page = [
            f'<!DOCTYPE html><meta charset="utf-8">{again}<title>{self.title}</title>',
            f"<style>{_STYLE}</style><h1>{self.title}</h1>",
            f"<p>step {self.rows[-1]['step']} of {total}, epoch {self.rows[-1]['epoch']}</p>",
            *(_curve(name, self.rows) for name in names),
        ]
        write_bytes(self.page, "\n".join(page).encode())


def _curve(name: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """Return one metric over the steps as a picture, thinned out."""
    known = [(row["step"], row[name]) for row in rows if row.get(name) is not None]
    if not known:
        return ""
    known = known[:: ceil(len(known) / _POINTS)] + known[-1:]
    steps, values = zip(*known, strict=True)
    low, high, last = min(values), max(values), steps[-1]
    points = " ".join(
        f"{_WIDTH * step / last:.1f},{_HEIGHT * (high - value) / ((high - low) or 1):.1f}"
        for step, value in known
    )
    return (
        f"<figure><figcaption>{html.escape(name.replace('_', ' '))}: {values[-1]:.4g} "
        f"({low:.4g} to {high:.4g})</figcaption>"
        f'<svg width="{_WIDTH}" height="{_HEIGHT}" viewBox="-2 -2 {_WIDTH + 4} {_HEIGHT + 4}">'
        f'<polyline points="{points}"/></svg></figure>'
    )


def _rows(lines: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines.splitlines()]


def save_history(folder: Path, history: pd.DataFrame) -> None:
    """Write the curve of a finished training beside what it made."""
    history.to_parquet(folder / _FILE)


def load_history(folder: Path) -> pd.DataFrame:
    """Read the curve of a finished training."""
    return pd.read_parquet(folder / _FILE)


def signs_of_collapse(history: pd.DataFrame, n_clips: int) -> list[str]:
    """Return in words what shows at the end of a run that its embedding has collapsed.

    The last value of each metric that has limits is judged; with fewer than 16 clips a batch none.
    """
    signs = []
    for name, (low, high, meaning) in _LIMITS.items():
        values = list(history[name].dropna()) if name in history else []
        if n_clips >= _MIN_CLIPS and values and not low <= values[-1] <= high:
            signs.append(f"{name.replace('_', ' ')} {values[-1]:.3g} ({meaning})")
    return signs


def warn_of_collapse(signs: list[str]) -> None:
    """Log a warning with the remedy if there are signs of collapse."""
    if signs:
        log.warning(
            "the embedding has collapsed: %s at the end of training, so it hardly tells clips "
            "apart. Train with a lower learning_rate, a larger batch_size or weaker views. (With "
            "only two classes to tell apart a rank near 1 is expected.)",
            ", ".join(signs),
        )
