"""A :class:`~unfused.reporting.lape_table.LapeTable` as CSV, plain text, Markdown and LaTeX."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import pandas as pd

from .lape_table import FIXED, PUBLISHED_NOTE, LapeTable

_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "[": "{[}",  # a bracket after a row's end would be read as its optional argument
    "\N{EN DASH}": "--",
    "\N{DAGGER}": r"\textdagger{}",
}


def to_csv(table: LapeTable) -> str:
    """Return the measured scores as plain numbers in per cent, one row per encoder."""
    return table.numbers.to_csv(index=False, lineterminator="\n")


def to_plain(table: LapeTable) -> str:
    """Return the measured scores in aligned columns, for a terminal.

    The columns are indented by four, so that Markdown too shows them as they are.
    """
    rows = [
        [*fixed, *(("*" if leads else " ") + cell for cell, leads in zip(cells, best, strict=True))]
        for fixed, cells, best in _lines(table)
    ]
    first = len(FIXED)
    heading = [*table.columns[:first], *(" " + column for column in table.columns[first:])]
    flat = [[cell.replace("\n", " ") for cell in row] for row in [heading, *rows]]
    widths = [max(map(len, column)) for column in zip(*flat, strict=True)]
    lines = [f"{table.title}; * marks the highest mean within its protocol:", ""]
    lines += ["    " + _aligned(row, widths) for row in flat]
    notes = [f"- {note}" for note in table.notes if not note.startswith("Bold")]
    return "\n".join([*lines, "", *notes]) + "\n"


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    """Return one line; sizes are numbers and stand right."""
    cells = [
        cell.rjust(width) if 3 <= place < len(FIXED) else cell.ljust(width)
        for place, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
    return "  ".join(cells).rstrip()


def to_markdown(table: LapeTable) -> str:
    """Return the table as GitHub Markdown; published scores, if any, in a table of their own."""
    rows = [
        [*map(escape_markdown, fixed), *_marked(cells, best, escape_markdown, "**{}**")]
        for fixed, cells, best in _lines(table)
    ]
    heading = [escape_markdown(column) for column in table.columns]
    lines = [f"### {table.title}", "", *_pipes(heading, rows), ""]
    lines += [f"- {escape_markdown(note)}" for note in table.notes]
    if len(table.published):
        scores = table.published.map(plain_number)
        cells = [[escape_markdown(cell) for cell in row] for row in scores.to_numpy()]
        lines += ["", "### Published scores (not measured here)", "", PUBLISHED_NOTE, ""]
        lines += _pipes([escape_markdown(name) for name in scores.columns], cells)
    return "\n".join(lines) + "\n"


def to_latex(table: LapeTable) -> str:
    """Return the table for LaTeX with booktabs; published scores, if any, as a second one."""
    rows = [
        [*map(escape_latex, fixed), *_marked(cells, best, escape_latex, r"\textbf{{{}}}")]
        for fixed, cells, best in _lines(table)
    ]
    align = "lll" + "r" * (len(table.columns) - 3)
    text = _tabular(align, map(escape_latex, table.columns), rows, breaks=_breaks(table))
    lines = [f"% {table.title}; needs \\usepackage{{booktabs}}", *text]
    lines += [f"% {note}" for note in table.notes]
    if len(table.published):
        scores = table.published.drop(columns="note", errors="ignore").map(plain_number)
        cells = [[escape_latex(cell) for cell in row] for row in scores.to_numpy()]
        align = "l" + "r" * (scores.shape[1] - 2) + "l"
        lines += ["", "% Published scores, not measured here.", f"% {PUBLISHED_NOTE}"]
        lines += _tabular(align, map(escape_latex, scores.columns), cells)
    return "\n".join(lines) + "\n"


def escape_latex(text: str) -> str:
    r"""Return text that LaTeX prints as it is.

    >>> escape_latex("50% of a_b")
    '50\\% of a\\_b'
    """
    return "".join(_LATEX.get(letter, letter) for letter in " ".join(str(text).split()))


def escape_markdown(text: str) -> str:
    r"""Return text that Markdown shows as it is, also inside a table.

    >>> escape_markdown("a|b_c")
    'a\\|b\\_c'
    """
    special = set("\\`*_{}<>|")
    flat = " ".join(str(text).split())
    return "".join(f"\\{letter}" if letter in special else letter for letter in flat)


def _lines(table: LapeTable) -> Iterable[tuple[list[str], list[str], list[bool]]]:
    tasks, overall = list(table.tasks), list(table.overall)
    for (_, row), (_, best) in zip(table.rows.iterrows(), table.best.iterrows(), strict=True):
        marks = best[tasks].tolist() + [False] * len(overall)
        yield row[list(FIXED)].tolist(), row[[*tasks, *overall]].tolist(), marks


def _marked(
    cells: Sequence[str], best: Sequence[bool], escape: Callable[[str], str], mark: str
) -> list[str]:
    marked = []
    for cell, leads in zip(cells, best, strict=True):
        score, _, rest = cell.partition(" ")
        marked.append(f"{mark.format(escape(score))} {escape(rest)}" if leads else escape(cell))
    return marked


def _pipes(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(heading) + " |", "|" + " --- |" * len(heading)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


def _tabular(
    align: str, heading: Iterable[str], rows: Sequence[Sequence[str]], breaks: Iterable[int] = ()
) -> list[str]:
    lines = [
        rf"\begin{{tabular}}{{{align}}}",
        r"\toprule",
        " & ".join(heading) + r" \\",
        r"\midrule",
    ]
    for number, row in enumerate(rows):
        lines += [r"\midrule"] if number in set(breaks) else []
        lines.append(" & ".join(row) + r" \\")
    return [*lines, r"\bottomrule", r"\end{tabular}"]


def _breaks(table: LapeTable) -> list[int]:
    """Return the rows with which another protocol begins."""
    protocol = table.rows["protocol"]
    changes = protocol.ne(protocol.shift()).to_numpy().nonzero()[0]
    return [int(row) for row in changes if row]


def plain_number(value: object) -> str:
    """Return a published score with its one decimal, and any other cell as it is."""
    if isinstance(value, float):
        return "" if pd.isna(value) else f"{value:.1f}"
    return str(value)
