"""Learning curves of a training that is going on, on a page that reloads itself."""

from __future__ import annotations

import html
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..core.outputs import write_bytes

_SECONDS = 5.0  # between two writings, and between two readings by the browser
_POINTS, _WIDTH, _HEIGHT = 200, 300, 90
_NO_CURVES = {"step", "epoch", "clips"}
_STYLE = """body { font: 15px sans-serif } figure { display: inline-block; margin: .5rem }
svg { background: #f3f5f8 } polyline { fill: none; stroke: #0b62a8; stroke-width: 1.5 }"""


class LivePage:
    """A page with a curve for each metric; ``title`` says whose they are."""

    def __init__(self, path: Path, title: str) -> None:
        self.path, self.title = path, html.escape(title)
        self._written = -math.inf

    def show(self, rows: Sequence[Mapping[str, Any]], total: int, *, done: bool = False) -> None:
        """Write the page, unless it is only some seconds old; once done, always and for good."""
        now = time.monotonic()
        if not rows or (not done and now - self._written < _SECONDS):
            return
        self._written = now
        again = "" if done else f'<meta http-equiv="refresh" content="{_SECONDS:.0f}">'
        names = dict.fromkeys(name for row in rows for name in row if name not in _NO_CURVES)
        page = [
            f'<!DOCTYPE html><meta charset="utf-8">{again}<title>{self.title}</title>',
            f"<style>{_STYLE}</style><h1>{self.title}</h1>",
            f"<p>step {rows[-1]['step']} of {total}, epoch {rows[-1]['epoch']}</p>",
            *(_curve(name, rows) for name in names),
        ]
        write_bytes(self.path, "\n".join(page).encode())


def _curve(name: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """Return one metric over the steps as a picture, thinned out."""
    known = [(row["step"], row[name]) for row in rows if row.get(name) is not None]
    if not known:
        return ""
    known = known[:: math.ceil(len(known) / _POINTS)] + known[-1:]
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
