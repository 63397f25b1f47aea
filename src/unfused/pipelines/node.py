"""Nodes that Kedro-Viz shows with the description of their function, and stages of them."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable
from functools import partial
from typing import Any

from kedro.pipeline import Node, Pipeline
from kedro.pipeline.preview_contract import TextPreview

_WIDTH = 46  # characters beside the graph


def node(function: Callable[..., Any], inputs: Any, outputs: Any, **options: Any) -> Node:
    """Return a node, named as its function, whose preview is the function's docstring.

    Kedro-Viz shows the code of a node only when it is asked to, and a docstring only inside it.
    """
    told = function.func if isinstance(function, partial) else function
    if told is not function:
        vars(function)["__name__"] = told.__name__  # Kedro warns of functions without a name
    name = options.pop("name", None) or told.__name__
    return Node(
        function, inputs, outputs, name=name, preview_fn=partial(_docstring, told), **options
    )


def stage(name: str, parts: Any, *tags: str) -> Pipeline:
    """Return a stage of the study: an outer namespace of nodes that renames no dataset."""
    return Pipeline(parts, namespace=name, prefix_datasets_with_namespace=False, tags=tags)


def _docstring(function: Callable[..., Any]) -> TextPreview:
    paragraphs = (inspect.getdoc(function) or "").split("\n\n")
    return TextPreview("\n\n".join(textwrap.fill(text, _WIDTH) for text in paragraphs))
