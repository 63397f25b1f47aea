"""Published LAPE scores, kept apart from everything measured here.

They are linear-evaluation accuracies in per cent, of encoders pre-trained on 10 % of AudioSet and
FSD50K. The official code picks the best epoch on the *test* set, so they are optimistic beside
scores chosen on validation data.
"""

from collections.abc import Iterable, Mapping
from importlib.resources import files
from io import StringIO

import pandas as pd

PUBLISHED_NOTE = (
    "Published scores: linear evaluation after pre-training on 10 % of AudioSet and FSD50K, by the "
    "authors named, with other data, other sizes and no intervals. They are not comparable with "
    "the measured ones row by row."
)
LAPE_TASKS: Mapping[str, str] = {
    "Speech Commands v1, 12 classes": "SC-V1",
    "Speech Commands v2, 12 classes": "SC-V2(12)",
    "Speech Commands v2, 35 classes": "SC-V2(35)",
    "LibriSpeech chapters (LAPE's 585 speakers)": "LBS",
    "VoxCeleb1 identification": "VC",
    "IEMOCAP, 4 emotions, 5 sessions": "IC",
    "VoxForge, 6 languages": "VF",
    "NSynth, instrument families": "NS",
    "Bird audio detection": "BSD",
    "TUT Urban Acoustic Scenes 2018": "TUT",
    "UrbanSound8K, 10 folds": "US8K",
}
"""Titles of tasks -> LAPE's abbreviations; the abbreviations themselves are understood too."""


def published_scores(tasks: Iterable[str]) -> pd.DataFrame:
    """Return published accuracies (per cent) on those of ``tasks`` that belong to LAPE.

    Returns:
        ``model``, one column for each such task under our name, ``source`` and, where something is
        odd about them, ``note``; no rows when none of the tasks is LAPE's.
    """
    known = {_plain(name): short for title, short in LAPE_TASKS.items() for name in (title, short)}
    columns = {known[_plain(task)]: task for task in tasks if _plain(task) in known}
    text = files(__package__).joinpath("published_lape.csv").read_text(encoding="utf-8")
    table = pd.read_csv(StringIO(text), dtype={"note": str}).fillna({"note": ""})
    kept = table[["model", *columns, "source", "note"]].rename(columns=columns)
    if not any(short.startswith("SC-V2") for short in columns):
        kept = kept.drop(columns="note")  # it is about those two tasks
    return kept if columns else kept.iloc[:0]


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())
