"""The model card: what a model is, how it was made, how good it is, its limits, how to load it."""

import json
import re
from collections.abc import Mapping
from typing import Any

import pandas as pd

from .findings import title_of
from .names import baseline_of, encoder_name, metric_name, protocol_name
from .page import TEMPLATES
from .summary import shown
from .words import percent


def model_card(
    classifier: Any, onnx: Mapping[str, Any], *, summary: pd.DataFrame | None = None
) -> str:
    """Return the card of a fitted :class:`~unfused.inference.classifier.Classifier` as Markdown.

    It takes what :func:`~unfused.inference.export.read_onnx_facts` and, of the run's scores,
    :func:`~unfused.reporting.summary.summarise` returned.
    """
    head, embedder, front_end = classifier.facts_, classifier.embedder_, classifier.front_end_
    task = head.get("task") or embedder.facts.get("task") or "a task"
    origin = {"classifier": head, "encoder": embedder.facts, "front_end": front_end.settings()}
    return TEMPLATES.get_template("model_card.md").render(
        title=encoder_name(head.get("encoder", embedder.name)),
        protocol=protocol_name(head.get("protocol", "linear_probe")).lower(),
        task=task,
        classes=[_code_span(name) for name in classifier.classes_],
        several=classifier.head_.kind.name == "multi_label",
        head=head,
        embedder=embedder,
        sample_rate=front_end.sample_rate,
        origin=json.dumps(origin, indent=1, default=str),
        scores=_scores(head, task, summary),
        onnx=onnx,
    )


def _code_span(text: str) -> str:
    r"""Return a text as code in Markdown, on one line, which nothing in it ends.

    >>> _code_span("dog"), _code_span("<b>`two`\n lines")
    ('`dog`', '``<b>`two` lines``')
    """
    runs = [len(found) for found in re.findall("`+", text)]
    fence, line = "`" * (max(runs, default=0) + 1), " ".join(text.split())
    return f"{fence} {line} {fence}" if "`" in line[:1] + line[-1:] else f"{fence}{line}{fence}"


def _scores(
    head: Mapping[str, Any], task: str, summary: pd.DataFrame | None
) -> list[dict[str, Any]]:
    """Return the model's scores and, after it, those of the baselines; none where not known."""
    if summary is None:
        return []
    rows = shown(summary)
    rows = rows[rows["task"] == task]
    places = {"encoder": head.get("encoder"), "source": head.get("source") or "",
              "read_out": head.get("read_out"), "protocol": head.get("protocol")}  # fmt: skip
    mine = rows[(rows[list(places)] == pd.Series(places)).all(axis=1)]
    if mine.empty:
        return []
    base = rows["encoder"].map(baseline_of)
    comparable = (rows["protocol"] == places["protocol"]) | (base == "supervised")
    rivals = rows[base.notna() & comparable & ~rows.index.isin(mine.index)]
    found = pd.concat([mine.head(1), rivals])
    scores = found.assign(
        name=["**this model**", *(title_of(row) for _, row in rivals.iterrows())],
        metric=found["metric"].map(metric_name), score=found["mean"].map(percent),
        bounds=found["low"].map(percent) + " to " + found["high"].map(percent),
    )  # fmt: skip
    return list(scores.to_dict("records"))
