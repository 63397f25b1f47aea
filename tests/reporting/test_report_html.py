from __future__ import annotations

import base64
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from unfused.reporting.aggregate import summarise
from unfused.reporting.comparisons import student_comparisons
from unfused.reporting.figures import CAPTIONS, confusion_matrix
from unfused.reporting.lape_table import lape_table
from unfused.reporting.report_html import ReportContent, ReportFigure, render_report
from unfused.reporting.verdict import Verdict, verdict

EVIL = "<script>alert('ačiū & co')</script>"
VOID = {"meta", "img", "br"}


class Balanced(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.tags, self.links = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def parsed(html):
    parser = Balanced()
    parser.feed(html)
    assert parser.open == []
    return parser


@pytest.fixture(scope="module")
def page(experiment):
    results, predictions = experiment((EVIL, "NS"), n_test=80)
    summary = summarise(results, predictions, n_draws=50)
    found = verdict(summary, student_comparisons(results, predictions, n_draws=50))
    rejected = pd.DataFrame({
        "corpus": "notes", "path": [f"{EVIL}/{i}.wav" for i in range(60)], "stage": "decode",
        "reason": [f"truncated: {i} of 9 frames" for i in range(60)],
    })  # fmt: skip
    return render_report(ReportContent(
        title=EVIL, verdict=found, tables=[lape_table(summary)],
        figures=[ReportFigure(EVIL, confusion_matrix(["a"], ["a"]), CAPTIONS["confusion_matrix"])],
        data_card=pd.DataFrame({"Data set": [EVIL], "Train": [1200], "Hours": [0.5]}),
        rejected=rejected, pseudo_labels=pd.DataFrame({
            "Seed": [0], "NMI": [0.4], "AMI": [None], "sizes": [np.array([118, 50])],
        }),
        parameters={"path": EVIL}, versions={"torch": "2.11.0"},
        facts={"Seeds": "0"}, next_commands={"kedro run --params 'a>b'": "More seeds."},
    ))  # fmt: skip


def test_the_page_is_well_formed_and_escaped(page):
    tags = parsed(page).tags
    assert "script" not in tags
    assert "&lt;script&gt;" in page
    assert "kedro run --params &#x27;a&gt;b&#x27;" in page


def test_the_page_needs_nothing_beside_it(page):
    links = parsed(page).links
    assert links
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in links)
    assert not re.search(r"@import|url\(|https?://", page)
    picture = next(link for link in links if link.startswith("data:"))
    assert base64.b64decode(picture.partition(",")[2])[:4] == b"\x89PNG"
    anchors = set(re.findall(r'id="([^"]+)"', page))
    assert {link[1:] for link in links if link.startswith("#")} == anchors


def test_every_section_is_there(page):
    sections = re.findall(r"<h2[^>]*>(.*?)</h2>", page)
    assert sections == [
        "Results", "Comparisons in words", "What was run", "Data", "Figures",
        "Pseudo-label quality", "Rejected files", "Next commands to try",
    ]  # fmt: skip
    assert page.index("headline") < page.index("<h2")
    assert "60 audio files were rejected" in page
    assert "The first 50 of 60" in page
    assert page.count(".wav</td>") == 50
    assert "Published scores, not measured here" in page
    assert "prefers-color-scheme: dark" in page
    assert "@media print" in page


def test_cluster_sizes_are_a_list_of_numbers(page):
    assert ">118, 50</td>" in page


def test_reasons_are_counted_without_their_details(page):
    assert re.search(r">truncated</td><td[^>]*>60</td>", page)


def test_an_empty_run_still_makes_a_page():
    html = render_report(ReportContent("Nothing", Verdict("No verdict.", {}, ())))
    parsed(html)
    assert "Nothing was evaluated." in html
    assert "Rejected files" not in html


def test_a_file_name_that_is_no_text_does_not_break_the_page():
    path = pd.Series(["a\udcff.wav"], dtype=object)
    rejected = pd.DataFrame({"corpus": "c", "path": path, "stage": "scan", "reason": "x"})
    html = render_report(ReportContent("t", Verdict("v", {}, ()), rejected=rejected))
    assert "a?.wav" in html
    html.encode("utf-8")
