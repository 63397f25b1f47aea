"""Pieces of the report: escaped tables, lists, and figures as data URIs."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

_DPI = 110


@dataclass(frozen=True)
class ReportFigure:
    """A figure of the report.

    Attributes:
        title: Heading above it.
        figure: The figure, or the bytes of a PNG.
        caption: How to read it.
    """

    title: str
    figure: Figure | bytes
    caption: str


def figure_html(shown: ReportFigure) -> str:
    """Return a figure with heading and caption, its picture inside the page."""
    picture = base64.b64encode(_png(shown.figure)).decode("ascii")
    return (
        f"<h3>{escape(shown.title)}</h3><figure>"
        f'<img alt="{escape(shown.title)}" src="data:image/png;base64,{picture}">'
        f"<figcaption>{escape(shown.caption)}</figcaption></figure>"
    )


def _png(figure: Figure | bytes) -> bytes:
    if isinstance(figure, bytes):
        return figure
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    return buffer.getvalue()


def bullet_list(items: Iterable[str], *, css: str = "") -> str:
    """Return an escaped list, or nothing for no items."""
    lines = "".join(f"<li>{escape(item).replace(' %', '&nbsp;%')}</li>" for item in items)
    return f'<ul class="{css}">{lines}</ul>' if lines else ""


def table_html(
    table: pd.DataFrame,
    *,
    numbers: Sequence[str] = (),
    group_by: str | None = None,
    escaped: bool = False,
    header: bool = True,
) -> str:
    """Return a table that scrolls sideways when it is wider than the page.

    Args:
        table: What to show.
        numbers: Columns aligned right.
        group_by: A column whose changes start a new section instead of standing in every row.
        escaped: Whether the cells are HTML already.
        header: Whether to show the column names.
    """
    columns = [column for column in table.columns if column != group_by]
    lines = []
    before = None
    for row in table.to_dict("records"):  # iterrows would turn integers into floats
        if group_by and row[group_by] != before:
            before = row[group_by]
            lines.append(f'<tr class="section"><td colspan="{len(columns)}">{before}</td></tr>')
        lines.append(_row(row, columns, numbers, escaped))
    head = "".join(f"<th{_class(name, numbers)}>{escape(str(name))}</th>" for name in columns)
    top = f"<thead><tr>{head}</tr></thead>" if header else ""
    body = "\n".join(lines)
    return f'<div class="scroll"><table>{top}<tbody>\n{body}\n</tbody></table></div>'


def _row(
    row: Mapping[Hashable, Any], columns: Sequence[str], numbers: Sequence[str], escaped: bool
) -> str:
    texts = [str(row[name]) if escaped else escape(_text(row[name])) for name in columns]
    classes = [_class(name, numbers, text) for name, text in zip(columns, texts, strict=True)]
    cells = "".join(f"<td{css}>{text}</td>" for css, text in zip(classes, texts, strict=True))
    return f"<tr>{cells}</tr>"


def _class(name: str, numbers: Sequence[str], text: str = "") -> str:
    if name in numbers:
        return ' class="number"'
    return ' class="long"' if len(text) > 40 else ""


def _text(value: object) -> str:
    if isinstance(value, float):
        if not math.isfinite(value):
            return "" if math.isnan(value) else str(value)
        whole = abs(value) >= 1000 or value == int(value)
        return f"{value:,.0f}" if whole else f"{value:.{3 if abs(value) < 1 else 1}f}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return "" if value is None or value is pd.NA else str(value)
