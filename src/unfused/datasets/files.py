"""Files that are there whole or not at all: tables, texts and pictures of ``kedro_datasets``.

Kedro-Viz has no field for a text about a dataset. Its one free place is the preview, so every one
here is HTML that begins with ``metadata.description`` of the catalog entry.
"""

import base64
import html
import io
import json
import os
import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, NewType

import pandas as pd
from kedro_datasets.json import JSONDataset
from kedro_datasets.pandas import CSVDataset, ParquetDataset
from kedro_datasets.text import TextDataset

from ..core import written

LARGEST = 2_000_000  # characters of a page that a preview shows
HTMLPreview = NewType("HTMLPreview", str)  # Kedro-Viz goes by the name of the type
_NARROW = "style='max-width: 22rem; white-space: normal; font-weight: bold'"  # beside the graph
NOT_MADE = "<p><em>Not made yet: what is in it shows here after a run.</em></p>"


class Described:
    """Gives a dataset its ``preview``, of the HTML that its ``_shown`` returns."""

    metadata: Any
    exists: Callable[[], bool]
    _shown: Callable[..., str]

    def preview(self, **how: Any) -> HTMLPreview:
        """Return the description and what is there, told ``preview_args`` of the catalog entry.

        Before there is anything the preview says so, without a word in the log.
        """
        shown = self._shown(**how) if self.exists() else NOT_MADE
        text = (self.metadata or {}).get("description")
        about = f"<p {_NARROW}>{verbatim(' '.join(text.split()))}</p>" if text else ""
        return HTMLPreview(about + shown)


class WholeFile(Described):
    """Lets a file dataset of Kedro write aside and rename, so that no reader sees half a file.

    It stands before the dataset's own class: ``class Table(WholeFile, ParquetDataset)``. Files on
    other than a local file system are written as Kedro does.
    """

    _filepath: PurePosixPath
    _protocol: str

    @property
    def filepath(self) -> Path:
        """The file."""
        return Path(self._filepath)

    def load(self) -> Any:
        """Read the file; refuse it, by UserError, if it is not what was written."""
        written.check(self.filepath)
        return super().load()  # type: ignore[misc]

    def save(self, data: Any) -> None:
        """Write the file; if that fails, the one that was there stays."""
        if self._protocol != "file":
            super().save(data)  # type: ignore[misc]
            return
        target = self._filepath
        aside = target.with_name(f".{target.name}.{os.getpid()}.tmp")
        self._filepath = aside
        try:
            super().save(data)  # type: ignore[misc]
            os.replace(aside, target)
            written.note(Path(target))
        finally:
            self._filepath = target
            Path(aside).unlink(missing_ok=True)


class ParquetTableDataset(WholeFile, ParquetDataset):
    """A Parquet file; cells may hold lists."""

    def _shown(self, nrows: int = 20) -> str:
        return first_rows(self.load(), nrows)


class CSVTableDataset(WholeFile, CSVDataset):
    """A CSV file without an index column."""

    def _shown(self, nrows: int = 50) -> str:
        return first_rows(self.load(), nrows)


class FigureDataset(WholeFile, TextDataset):
    """A drawn figure, the bytes of a PNG."""

    DEFAULT_FS_ARGS: ClassVar = {"open_args_save": {"mode": "wb"}, "open_args_load": {"mode": "rb"}}

    def _shown(self) -> str:
        return picture_html(self.load())


class PlainTextDataset(WholeFile, TextDataset):
    """A text file in Markdown, LaTeX or CSV."""

    def _shown(self, characters: int = 5000) -> str:
        return _beginning(self.load(), characters)


class JSONTextDataset(WholeFile, JSONDataset):
    """A JSON file, shown with one value a line."""

    def _shown(self, characters: int = 5000) -> str:
        return _beginning(json.dumps(self.load(), indent=1, ensure_ascii=False), characters)


class PageDataset(WholeFile, TextDataset):
    """A page of HTML, or a piece of one, with pictures and sounds inside."""

    def _shown(self) -> str:
        page = self.load()
        if len(page) <= LARGEST:
            return inert(page)
        place = verbatim(str(self.filepath))
        return f"<p>A page of {len(page) / 1e6:.1f} MB: open {place} in a browser.</p>"


def first_rows(table: pd.DataFrame, nrows: int) -> str:
    """Return how large a table is, and its first rows; of long texts the end, which differs.

    >>> first_rows(pd.DataFrame({"score": [0.123456]}), 0)
    '<p>1 rows, 1 columns: score</p>'
    """
    names = verbatim(", ".join(map(str, table.columns[:8]))) + "…" * (table.shape[1] > 8)
    size = f"<p>{len(table):,} rows, {table.shape[1]:,} columns: {names}</p>"
    if not min(nrows, len(table)):
        return size
    rows = table.head(nrows).map(
        lambda cell: "…" + cell[-59:] if isinstance(cell, str) and len(cell) > 60 else cell
    )
    return size + inert(
        rows.to_html(index=False, border=0, float_format="{:.4g}".format, na_rep="")
    )


def _beginning(text: str, characters: int) -> str:
    shown = text if len(text) <= characters else text[:characters] + "\n…"
    return f"<pre style='white-space: pre-wrap'>{verbatim(shown)}</pre>"


def verbatim(text: str) -> str:
    """Return text as HTML that Kedro-Viz shows as it is.

    Kedro-Viz reads the HTML of previews as Markdown: two underscores would be slanted text, two
    stars bold, and an empty line would end the paragraph. Signs that look alike stand for them.

    >>> verbatim("a_b & <c>")
    'aˍb &amp; &lt;c&gt;'
    """
    return html.escape(text, quote=False).translate(_ALIKE)


_SIGNS = {"_": "ˍ", "*": "∗", "`": "'"}  # noqa: RUF001
_ALIKE = str.maketrans({**_SIGNS, "\n": "<br>"})


def inert(page: str) -> str:
    """Return a page of HTML as a piece of one, whose texts Kedro-Viz shows as they are.

    >>> inert("<title>x</title><p class='a_b'>a_b</p>")
    "<p class='a_b'>aˍb</p>"
    """
    piece = re.sub(r"<(style|script|title|head)\b.*?</\1>", "", page, flags=re.DOTALL)
    signs = str.maketrans(_SIGNS)
    return re.sub(r"(?<=>)[^<]+", lambda text: text[0].translate(signs), piece).replace("\n", " ")


def picture_html(picture: Any) -> str:
    """Return a figure, or the bytes of a PNG, as an image inside the page."""
    if not isinstance(picture, bytes):
        buffer = io.BytesIO()
        picture.savefig(buffer, format="png", dpi=80)
        picture = buffer.getvalue()
    data = base64.b64encode(picture).decode()
    return f"<img src='data:image/png;base64,{data}' style='max-width: 100%; background: white'>"


def player_html(file: Path) -> str:
    """Return a player of an audio file, inside the page."""
    data = base64.b64encode(file.read_bytes()).decode()
    kind = file.suffix.lstrip(".")
    return f"<audio controls src='data:audio/{kind};base64,{data}'></audio>"
