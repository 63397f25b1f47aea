"""Corpora that come with pip: instruments of a General MIDI SoundFont, rendered on this machine."""

from __future__ import annotations

import inspect
from importlib import metadata
from pathlib import Path

import pandas as pd

from ..core.outputs import OutputFolder
from ..core.source import source_digest
from .plans import plan_mixtures, plan_notes, plan_sessions
from .rendering import SOUNDFONT_DIGEST, find_soundfont, render_takes
from .settings import DemoSettings

PLANS = {"instrument": plan_sessions, "notes": plan_notes, "mixtures": plan_mixtures}
_CARD = """# Demo corpus: {name}

This folder holds {what}

```text
{counts}
```

Rendered on this machine by `midirenderer` from TimGM6mb, a General MIDI SoundFont of sampled
instruments by Tim Brechbill under the GNU General Public License, version 2, read from the
installed `pretty_midi` package. Mind that licence before passing the audio on. The recordings are
small and looped, and without velocity layers: results here are no evidence about real instruments.
"""


def render_demo(
    folder: str | Path,
    name: str = "instrument",
    settings: DemoSettings | None = None,
    *,
    n_jobs: int = -1,
) -> Path:
    """Render one of the demo's corpora, or what is missing of it, and return its own folder.

    There are FLAC files (16 kHz, mono, 16 bit) in it, ``labels.csv`` (columns path, label, split
    and group) and a data card, ``README.md``.

    Args:
        folder: Where it goes, into a folder of its own.
        name: ``instrument`` (:func:`.plan_sessions`), ``notes`` (:func:`.plan_notes`) or
            ``mixtures`` (:func:`.plan_mixtures`).
        settings: How large it is.
        n_jobs: Number of processes; -1: one per core.

    Raises:
        UserError: The renderer or its SoundFont is not installed, or there are not enough notes.
        OSError: ``folder`` cannot be written.
    """
    settings = settings or DemoSettings()
    find_soundfont()  # or say what to install
    table, takes = PLANS[name](settings)
    seconds = settings.seconds * (2 if name == "mixtures" else 1)

    def build(path: Path) -> None:
        render_takes(path / name, takes, seconds, n_jobs)
        table.to_csv(path / name / "labels.csv", index=False)
        what = (inspect.getdoc(PLANS[name]) or "").removeprefix("Return ").split("\n\nRaises")[0]
        counts = pd.crosstab(table["label"], table["split"], margins=True).to_string()
        card = _CARD.format(name=name, what=what, counts=counts)
        (path / name / "README.md").write_text(card, encoding="utf-8")

    made_of = {"table": table, "takes": takes, "seconds": seconds, "soundfont": SOUNDFONT_DIGEST}
    made_of["renderer"] = metadata.version("midirenderer")
    made_of["source"] = source_digest("demo.rendering")
    return OutputFolder(Path(folder)).built(name, made_of, build) / name
