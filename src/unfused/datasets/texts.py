"""Texts that Kedro-Viz shows as they are."""

from __future__ import annotations

import html

from kedro_datasets._typing import HTMLPreview
from kedro_datasets.json import JSONDataset
from kedro_datasets.text import TextDataset

from .previews import once_made
from .whole_file import WholeFile


class PlainTextDataset(WholeFile, TextDataset):
    """A text file in Markdown, LaTeX or CSV."""

    @once_made
    def preview(self, characters: int = 5000) -> HTMLPreview:
        """Return the beginning of the text, its lines as they stand in the file."""
        text = self.load()
        shown = text if len(text) <= characters else text[:characters] + "\n…"
        return HTMLPreview(f"<pre style='white-space: pre-wrap'>{verbatim(shown)}</pre>")


class PageDataset(WholeFile, TextDataset):
    """A page of HTML, too long for a preview."""


class JSONTextDataset(WholeFile, JSONDataset):
    """A JSON file."""

    preview = once_made(JSONDataset.preview)


def verbatim(text: str) -> str:
    """Return text as HTML that Kedro-Viz shows as it is.

    Kedro-Viz reads the HTML of previews as Markdown: two underscores would be slanted text, and an
    empty line would end the paragraph. A low macron looks like the underscore.

    >>> verbatim("a_b & <c>")
    'aˍb &amp; &lt;c&gt;'
    """
    return html.escape(text, quote=False).replace("_", "ˍ").replace("\n", "<br>")
