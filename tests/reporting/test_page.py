from __future__ import annotations

import base64
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
import soundfile

from unfused.params import Run
from unfused.reporting.figures.confusion import confusion_matrix
from unfused.reporting.findings import compare, findings
from unfused.reporting.page import ReportContent, heard, render_report
from unfused.reporting.summary import summarise

EVIL = "<script>alert('ačiū & co')</script>\n" + "y" * 300
VOID = {"meta", "img", "br"}


class Balanced(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.tags, self.links, self.text = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def parsed(html):
    parser = Balanced()
    parser.feed(html)
    assert parser.open == []
    return parser


@pytest.fixture(scope="module")
def png(tmp_path_factory):
    path = tmp_path_factory.mktemp("png") / "a.png"
    confusion_matrix(["a", "b"], ["a", "b"]).savefig(path)
    return path.read_bytes()


@pytest.fixture(scope="module")
def content(experiment, png, tmp_path_factory):
    """Two tasks, and everything in them that a page could stumble over."""
    tasks = (EVIL, "NS")
    results, predictions = experiment(tasks, n_test=80, classes=[EVIL, "a\nb", "c"])
    predictions["probability"] = 0.9
    sound = tmp_path_factory.mktemp("sounds") / "<b>a.wav"
    soundfile.write(sound, np.sin(np.arange(32000) * 0.1), 8000)
    clips = predictions.drop_duplicates("clip_id")[["clip_id", "label", "task"]]
    clips = clips.assign(path=str(sound), offset=0, frames=32000, sample_rate=8000)
    clips.loc[clips.index[::2], "path"] = "/nowhere/a.wav"
    summary = summarise(results, predictions, n_draws=50)
    comparisons = compare(summary, predictions, n_draws=50)
    manifests = dict(list(clips.groupby("task")))
    rejected = pd.DataFrame({
        "corpus": "notes", "path": [f"{EVIL}/{i}.wav" for i in range(60)], "stage": "decode",
        "reason": [f"truncated: {i} of 9 frames" for i in range(60)],
    })  # fmt: skip
    return ReportContent(
        findings(summary, comparisons, predictions, manifests),
        summary,
        comparisons,
        {"run": Run(seeds=[0, 1]), "path": EVIL, "report": {"configurations_tried": 7}},
        of_tasks={task: {"confusion": png, "clusters": png} for task in tasks},
        figures={"learning_curves": png},
        quality=pd.DataFrame({"task": ["NS"], "sizes": [np.array([118, 50])], "ami": [np.nan]}),
        data_card=pd.DataFrame({"corpus": [EVIL], "train": [1200]}),
        rejected=rejected,
    )


@pytest.fixture(scope="module")
def page(content):
    return render_report(content)


def test_the_page_is_well_formed_and_escaped(page):
    tags = parsed(page).tags
    assert "script" not in tags
    assert "b" in tags  # of the chosen cell, not of the file's name
    assert "&lt;script&gt;" in page
    assert "&lt;b&gt;a.wav" in page
    assert "a\nb" not in "".join(parsed(page).text)


def test_long_names_are_cut_above_the_tables(page):
    above = page.partition("<h2>All scores</h2>")[0]
    assert "y" * 20 in above
    assert "y" * 100 not in re.sub(r"base64,[^\"]+", "", above)


def test_the_page_needs_nothing_beside_it(page):
    links = parsed(page).links
    kinds = {link.partition(";")[0] for link in links}
    assert kinds == {"data:image/png", "data:audio/flac"}
    assert not re.search(r"@import|url\(|https?://", page)
    picture = next(link for link in links if link.startswith("data:image"))
    assert base64.b64decode(picture.partition(",")[2])[:4] == b"\x89PNG"


def test_findings_come_first_then_a_picture_then_tables(page):
    order = [page.index(part) for part in ('<p class="lead">', "<img", "<audio", "All scores")]
    assert order == sorted(order)
    assert page.index("<img") < page.index("It fails most often for")
    headings = re.findall(r"<h2[^>]*>(.*?)</h2>", page)
    assert headings == ["All scores", "Figures", "Data", "What was run"]
    assert "Planned comparisons" in page
    assert "Published scores, not measured here" in page
    assert "configurations tried, this one included: 7" in page
    assert ">118, 50</td>" in page
    assert "prefers-color-scheme: dark" in page


def test_clips_that_are_gone_say_so(page):
    assert "cannot be played: file not found" in page


def test_rejected_files_are_counted_by_reason_without_details(page):
    assert "60 files rejected" in page
    assert re.search(r"<td>truncated</td><td>60</td>", page)
    assert page.count(".wav</td>") == 20


def test_one_task_needs_no_folding(content):
    alone = ReportContent(
        [one for one in content.findings if one["task"] == "NS"],
        content.summary[content.summary["task"] == "NS"],
        content.comparisons.iloc[:0],
        content.parameters,
    )
    html = render_report(alone)
    assert "<details open>" not in html
    assert "UnFuSeD student (block3, linear probe) is the best of 8 classifiers" in html
    assert "Planned comparisons" not in html
    assert "<h2>Figures</h2>" not in html
    assert len(alone.closing.splitlines()) == 3


def test_a_file_name_that_is_no_text_does_not_break_the_page(content):
    path = pd.Series(["a\udcff.wav"], dtype=object)
    rejected = pd.DataFrame({"corpus": "c", "path": path, "stage": "scan", "reason": "x"})
    odd = ReportContent(content.findings, content.summary, content.comparisons,
                        content.parameters, rejected=rejected)  # fmt: skip
    html = render_report(odd)
    assert "a?.wav" in html
    html.encode("utf-8")


def test_a_sound_is_the_beginning_of_its_clip(tmp_path):
    wave = np.concatenate([np.zeros(8000), 0.3 * np.sin(np.arange(40000) * 0.1)])
    soundfile.write(tmp_path / "a.wav", wave, 8000)
    clip = {"clip_id": "a", "path": str(tmp_path / "a.wav"), "offset": 8000, "frames": 40000,
            "sample_rate": 8000}  # fmt: skip
    found = heard(clip, seconds=0.5)
    file = tmp_path / "b.flac"
    file.write_bytes(base64.b64decode(found["sound"].partition(",")[2]))
    samples, rate = soundfile.read(file)
    assert (rate, len(samples)) == (16000, 8000)
    assert np.abs(samples[:100]).max() > 0.5
    assert np.abs(samples).max() == pytest.approx(0.9, abs=0.01)
    assert heard({**clip, "path": "/nowhere"})["missing"]
    assert heard({"clip_id": "a"})["sound"] == ""
