"""What Kedro-Viz shows of a dataset: its description from the catalog, then what is in it.

Kedro-Viz has no field for a text about a dataset. Its one free place is the preview, so every one
here is HTML that begins with ``metadata.description`` of the catalog entry.
"""

import base64
import html
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NewType

HTMLPreview = NewType("HTMLPreview", str)
"""What a preview returns: Kedro-Viz goes by the name of the type."""
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
