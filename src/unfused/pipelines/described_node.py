"""A node that Kedro-Viz shows with the description of its function."""

from __future__ import annotations

import inspect
import textwrap
from typing import Any

from kedro.pipeline import Node
from kedro.pipeline.preview_contract import TextPreview

_WIDTH = 46  # characters beside the graph


class DescribedNode(Node):
    """A node whose preview is its function's docstring.

    Kedro-Viz shows the code of a node only when it is asked to, and a docstring only inside it.
    """

    def preview(self) -> TextPreview:
        """Return the docstring, broken into short lines."""
        paragraphs = (inspect.getdoc(self.func) or "").split("\n\n")
        return TextPreview("\n\n".join(textwrap.fill(text, _WIDTH) for text in paragraphs))

    def _copy(self, **changes: Any) -> Node:
        """Return a changed copy, of this class; namespaces and tags make copies."""
        copied = super()._copy(**changes)
        copied.__class__ = type(self)
        return copied
