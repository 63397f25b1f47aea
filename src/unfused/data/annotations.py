"""Label tracks beside recordings, in Audacity's and Raven's formats.

A track of ``night.wav`` is a text file in the same folder that is called ``night.txt`` or
``night.<anything>.txt``, such as Raven's ``night.Table.1.selections.txt``.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from .table import ManifestError, decode, read_table, text_label

_NUMBER = r"\d+(?:[.,]\d+)?"
_AUDACITY = re.compile(rf"({_NUMBER})\t({_NUMBER})(?:\t(.*))?")
TRACK = ["start", "end", "label"]


def list_tracks(folder: Path, names: Sequence[str]) -> pd.DataFrame | None:
    """Return the annotated pieces of recordings, or None where no recording has a label track.

    ``names`` are paths in the folder. There is one row for each annotation: path, start and end in
    seconds, and label, as text; and one without the last three for a recording without a track.

    Raises:
        ManifestError: A line of a track is malformed, or it may belong to two recordings.
    """
    of_folder: dict[Path, list[str]] = {}
    for name in names:
        of_folder.setdefault((folder / name).parent, []).append(name)
    found: dict[str, pd.DataFrame] = {}
    for where, recordings in of_folder.items():
        stems: dict[str, list[str]] = {}
        for name in recordings:
            stems.setdefault(Path(name).stem, []).append(name)
        for file in sorted(where.glob("*.txt")):
            parts = file.name.split(".")[:-1]
            names_ = (".".join(parts[:n]) for n in range(len(parts), 0, -1))
            of, *others = next((stems[stem] for stem in names_ if stem in stems), [""])
            if of and (track := read_track(file)) is not None:
                if others:
                    raise ManifestError(
                        f"{file} may be the label track of {of} or of {others[0]}: rename one of "
                        "these, or take one away if both are the same recording"
                    )
                found[of] = pd.concat([found.get(of), track], ignore_index=True)
    if not found:
        return None
    empty = pd.DataFrame([["", "", ""]], columns=TRACK)
    tables = [found.get(name, empty).drop_duplicates().assign(path=name) for name in names]
    return pd.concat(tables, ignore_index=True)


def read_track(path: Path) -> pd.DataFrame | None:
    """Return the annotations in a text file: start, end and label, as text; None: it is no track.

    Raises:
        ManifestError: It is one of Audacity's or Raven's, but a line is malformed.
    """
    text = decode(path.read_bytes())
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("\\")]
    if lines and "begin time (s)" in lines[0].casefold():
        return read_table(path, needed="start").reindex(columns=TRACK, fill_value="")
    rows = [_AUDACITY.fullmatch(line) for line in lines]
    if not any(rows):
        return None
    if None in rows:
        number = rows.index(None)
        raise ManifestError(
            f"{path}: {lines[number]!r} is not start, end and label with tabs between them, as in "
            "Audacity's label tracks: mend or delete the line"
        )
    cells = [[row[1], row[2], text_label(row[3])] for row in rows if row is not None]
    return pd.DataFrame(cells, columns=TRACK, dtype=object)
