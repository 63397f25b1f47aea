"""The report: one HTML file that needs nothing beside it, for screen and paper."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

import pandas as pd

from .html_parts import ReportFigure, bullet_list, figure_html, table_html
from .lape_table import FIXED, PUBLISHED_NOTE, LapeTable
from .table_formats import plain_number
from .verdict import Verdict

_LISTED = 50  # rejected files shown
_DETAILS = r"[:(].*|(?<=duplicate) of.*"  # what differs between files rejected for one reason


@dataclass(frozen=True)
class ReportContent:
    """Everything the report shows; what is empty is left out, or said to be missing.

    Attributes:
        title: Heading of the report.
        verdict: What was found, in words.
        tables: One table per metric, the main one first.
        figures: Figures with their captions.
        data_card: One row per data set: clips per split, seconds, rejected files, licence ...
        rejected: Rejected files: ``corpus, path, stage, reason``.
        pseudo_labels: One row per clustering: seed, fold, source, clusters, NMI, AMI, sizes.
        cluster_players: A section to listen to the clusters, HTML that is escaped already.
        parameters: The resolved parameters.
        versions: Package -> version.
        facts: Anything else about the run, name -> value (seeds, device, commit, date).
        next_commands: Commands worth trying next -> why.
    """

    title: str
    verdict: Verdict
    tables: Sequence[LapeTable] = ()
    figures: Sequence[ReportFigure] = ()
    data_card: pd.DataFrame | None = None
    rejected: pd.DataFrame | None = None
    pseudo_labels: pd.DataFrame | None = None
    cluster_players: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    next_commands: Mapping[str, str] = field(default_factory=dict)


def render_report(content: ReportContent) -> str:
    """Return the report as one self-contained HTML page; all text is escaped."""
    sections = {
        "Results": _results(content),
        "Comparisons in words": _comparisons(content.verdict),
        "What was run": _run(content),
        "Data": _data(content),
        "Figures": "".join(figure_html(figure) for figure in content.figures),
        "Listen to the clusters": content.cluster_players,
        "Pseudo-label quality": _pseudo_labels(content.pseudo_labels),
        "Rejected files": _rejected(content.rejected),
        "Next commands to try": _next(content.next_commands),
    }
    shown = {name: body for name, body in sections.items() if body}
    links = " ".join(f'<a href="#{_anchor(name)}">{escape(name)}</a>' for name in shown)
    parts = [
        f"<h1>{escape(content.title)}</h1>",
        f'<p class="headline">{escape(content.verdict.headline)}</p>',
        f"<nav>{links}</nav>",
    ]
    parts += [
        f'<h2 id="{_anchor(name)}">{escape(name)}</h2>\n{body}' for name, body in shown.items()
    ]
    page = files(__package__).joinpath("report.html").read_text(encoding="utf-8")
    page = Template(page).substitute(title=escape(content.title), body="\n".join(parts))
    return page.encode("utf-8", "replace").decode("utf-8")  # file names need not be valid text


def _anchor(name: str) -> str:
    return name.lower().replace(" ", "-")


def _results(content: ReportContent) -> str:
    if not content.tables:
        return "<p>Nothing was evaluated.</p>"
    return "".join(_table(table) for table in content.tables)


def _table(table: LapeTable) -> str:
    rows = table.rows.copy()
    for task in table.tasks:
        rows[task] = [
            _cell(text, best) for text, best in zip(rows[task], table.best[task], strict=True)
        ]
    plain = [*FIXED, *table.overall]
    rows[plain] = rows[plain].map(escape)
    rows = rows[[*FIXED, *table.tasks, *table.overall]].set_axis(table.columns, axis=1)
    html = f"<h3>{escape(table.title)}</h3>"
    html += table_html(rows, numbers=table.columns[3:], group_by="Protocol", escaped=True)
    html += bullet_list(table.notes, css="notes")
    if len(table.published):
        numbers = list(table.published.select_dtypes("number").columns)
        scores = table_html(table.published.map(plain_number), numbers=numbers)
        html += (f'<div class="published"><h3>Published scores, not measured here</h3>'
                 f"<p>{escape(PUBLISHED_NOTE)}</p>{scores}</div>")  # fmt: skip
    return html


def _cell(text: str, best: bool) -> str:
    score, _, rest = text.partition(" ")
    return f"<strong>{escape(score)}</strong> {escape(rest)}" if best else escape(text)


def _comparisons(verdict: Verdict) -> str:
    html = "".join(
        f"<h3>{escape(where)}</h3>{bullet_list(sentences)}"
        for where, sentences in verdict.sections.items()
    )
    if verdict.caveats:
        html += "<h3>Read this with care</h3>" + bullet_list(verdict.caveats)
    return html


def _run(content: ReportContent) -> str:
    html = ""
    if content.facts:
        facts = pd.DataFrame(content.facts.items(), columns=["Fact", "Value"])
        html += table_html(facts, header=False)
    if content.versions:
        versions = ", ".join(f"{name} {version}" for name, version in content.versions.items())
        html += f"<h3>Versions</h3><p>{escape(versions)}</p>"
    if content.parameters:
        text = json.dumps(content.parameters, indent=2, ensure_ascii=False, default=str)
        html += f"<details><summary>All parameters</summary><pre>{escape(text)}</pre></details>"
    return html


def _data(content: ReportContent) -> str:
    if content.data_card is None or content.data_card.empty:
        return ""
    card = content.data_card
    html = table_html(card, numbers=list(card.select_dtypes("number").columns))
    n_rejected = 0 if content.rejected is None else len(content.rejected)
    if not n_rejected:
        return html + "<p>No audio file was rejected.</p>"
    plural = "file was" if n_rejected == 1 else "files were"
    return html + f"<p>{n_rejected:,} audio {plural} rejected; the reasons are listed below.</p>"


def _pseudo_labels(table: pd.DataFrame | None) -> str:
    if table is None or table.empty:
        return ""
    note = (
        "NMI and AMI compare clusters with true labels, which the clustering never saw: 1 is the "
        "same partition. AMI is 0 for clusters made by chance; NMI is above 0 even then, and grows "
        "with the number of clusters, so trust AMI when they disagree."
    )
    numbers = list(table.select_dtypes("number").columns)
    if "sizes" in table:
        table = table.assign(sizes=[", ".join(map(str, sizes)) for sizes in table["sizes"]])
    return table_html(table, numbers=numbers) + f'<p class="notes">{note}</p>'


def _rejected(rejected: pd.DataFrame | None) -> str:
    if rejected is None or rejected.empty:
        return ""
    reasons = rejected["reason"].astype(str).str.replace(_DETAILS, "", regex=True).str.strip()
    counts = reasons.value_counts().rename_axis("Reason").reset_index(name="Files").head(20)
    columns = [name for name in ("corpus", "path", "stage", "reason") if name in rejected]
    html = "<h3>By reason</h3>" + table_html(counts, numbers=["Files"])
    n_shown = min(_LISTED, len(rejected))
    heading = (
        f"The first {n_shown} of {len(rejected):,}" if n_shown < len(rejected) else "Each file"
    )
    return html + f"<h3>{heading}</h3>" + table_html(rejected[columns].head(_LISTED))


def _next(commands: Mapping[str, str]) -> str:
    return "".join(
        f"<p>{escape(why)}</p><pre>{escape(command)}</pre>" for command, why in commands.items()
    )
