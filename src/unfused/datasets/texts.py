"""Texts that Kedro-Viz shows as they are."""

from __future__ import annotations

import json

from kedro_datasets.json import JSONDataset
from kedro_datasets.text import TextDataset

from .previews import described, verbatim
from .whole_file import WholeFile


class PlainTextDataset(WholeFile, TextDataset):
    """A text file in Markdown, LaTeX or CSV."""

    @described
    def preview(self, characters: int = 5000) -> str:
        """Return the beginning of the text, its lines as they stand in the file."""
        return _block(self.load(), characters)


class PageDataset(WholeFile, TextDataset):
    """A page of HTML, too long for a preview."""

    @described
    def preview(self) -> str:
        """Return where the page is."""
        size = len(self.load()) / 1e6
        return f"<p>A page of {size:.1f} MB: open {verbatim(str(self._filepath))} in a browser.</p>"


class JSONTextDataset(WholeFile, JSONDataset):
    """A JSON file."""

    @described
    def preview(self, characters: int = 5000) -> str:
        """Return the beginning of the file, one value a line."""
        return _block(json.dumps(self.load(), indent=1, ensure_ascii=False), characters)


def _block(text: str, characters: int) -> str:
    shown = text if len(text) <= characters else text[:characters] + "\n…"
    return f"<pre style='white-space: pre-wrap'>{verbatim(shown)}</pre>"
