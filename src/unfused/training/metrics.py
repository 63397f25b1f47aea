"""Metrics of a run: summed up on the device, written as JSON lines."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from ..core.distributed import average


class Meter:
    """Sums of a step's metrics that stay on the device until a row is due.

    Args:
        device: Where the metrics are.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    def add(self, metrics: Mapping[str, Tensor | float]) -> None:
        """Add one step's scalars; the host does not wait for them."""
        for name, value in metrics.items():
            value = torch.as_tensor(value).detach().float()
            value = value.to(self.device, non_blocking=True)
            self._sums[name] = self._sums[name] + value if name in self._sums else value
            self._counts[name] = self._counts.get(name, 0) + 1

    def means(self) -> dict[str, float]:
        """Return the mean of each metric since the last :meth:`clear`, over all processes.

        Waits for the device, once.
        """
        if not self._sums:
            return {}
        sums = torch.stack(list(self._sums.values()))
        average([sums])
        counts = list(self._counts.values())
        return {
            name: total / count
            for name, total, count in zip(self._sums, sums.tolist(), counts, strict=True)
        }

    def clear(self) -> None:
        """Start the next row."""
        self._sums.clear()
        self._counts.clear()

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint needs: sums over all processes, which all must ask for."""
        sums = {name: value.clone() for name, value in self._sums.items()}
        average(sums.values())
        return {"sums": sums, "counts": dict(self._counts)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue a row that a checkpoint interrupted."""
        self._sums, self._counts = dict(state["sums"]), dict(state["counts"])


class MetricsFile:
    """A file of JSON lines, one row each ``log_every`` steps.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, row: Mapping[str, Any]) -> None:
        """Write one row; what is not finite becomes null."""
        strict = {
            name: None if isinstance(value, float) and not isfinite(value) else value
            for name, value in row.items()
        }
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(strict) + "\n")

    def rows(self) -> list[dict[str, Any]]:
        """Return all whole rows; a last line cut off by a crash is left out."""
        rows = []
        lines = self.path.read_text(encoding="utf-8").splitlines() if self.path.exists() else []
        for line in lines:
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError:
                break
        return rows

    def truncate(self, step: int) -> None:
        """Drop the rows after ``step``, which a resumed run writes again."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        kept = [json.dumps(row) + "\n" for row in self.rows() if row["step"] <= step]
        temporary = self.path.with_name(self.path.name + ".tmp")
        temporary.write_text("".join(kept), encoding="utf-8")
        os.replace(temporary, self.path)

    def table(self) -> pd.DataFrame:
        """Return the rows as a table."""
        return pd.DataFrame(self.rows())
