"""The page that takes labels, in a browser; what it is made of, and what becomes of the labels."""

import pandas as pd
import pytest

from unfused.core.errors import UserError
from unfused.pipelines.inference.nodes import labelled_places
from unfused.reporting.page import label_page

from .browser import browser, installed, served

NEW = "07_model_output/new_audio"


@pytest.fixture(scope="module")
def clips(tone, tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    paths = [tone(folder / f"{i}, <b>.wav", 300 * (i + 1), seconds=1.0) for i in range(3)]
    paths.append(folder / "gone.wav")
    return pd.DataFrame({
        "path": [str(path) for path in paths], "start": 0.25, "end": 0.75, "sample_rate": 16000,
        "words": "low, else </script> high", "seconds": 0.75,
    })  # fmt: skip


@pytest.mark.skipif(installed() is None, reason="no Chromium or Chrome is installed")
def test_keys_label_undo_and_save(clips, tmp_path):
    page = label_page(clips, ["low", 'h"igh'], title="Label next", note="Some <b>clips</b>.")
    (tmp_path / "page.html").write_text(page, encoding="utf-8")
    with served(tmp_path) as address, browser(tmp_path / "profile") as shown:
        shown.open(f"{address}/page.html")
        shown.until("document.querySelectorAll('.clip').length === 4")
        press(shown, *"21j1u")
        assert shown.run("document.getElementById('count').textContent") == "2 of 4 labelled"
        shown.run("clips[2].querySelector('input').value = 'new, one';"
                  "clips[2].querySelector('input').dispatchEvent(new Event('change'))")  # fmt: skip
        lines = shown.run("table()").splitlines()
        assert lines[0] == "path,start,end,label"
        assert [line.rsplit("0.75", 1)[1] for line in lines[1:]] == [
            '","h""igh"', '","low"', '","new, one"',
        ]  # fmt: skip
        shown.until("clips[0].querySelector('audio').load() || true")
        shown.until("Math.abs(clips[0].querySelector('audio').duration - 0.5) < 0.05")
        assert shown.run("clips[3].querySelector('audio') === null")
        shown.open(f"{address}/page.html?again")
        shown.until("typeof labels === 'object' && Object.keys(labels).length === 3")  # still there
        assert not [error for error in shown.errors if "favicon" not in error]


def press(shown, *keys):
    for key in keys:
        shown.run(f"document.dispatchEvent(new KeyboardEvent('keydown', {{key: '{key}'}}))")


def test_where_clips_begin_that_have_a_label(tone, tmp_path):
    files = [str(tone(tmp_path / f"{name}.wav", 300)) for name in "abc"]
    scanned = pd.DataFrame({"path": files, "sample_rate": 16000})
    (tmp_path / "s.csv").write_text('path,start,label\na.wav,,x\nb.wav,"0,5",x\n')
    (tmp_path / "o.csv").write_text("path,offset,frames,label\nc.wav,8000,4000,x\n")
    for table, starts in (("s.csv", [0.0, 0.5]), ("o.csv", [0.5])):
        found = labelled_places(str(tmp_path / table), scanned)
        assert found["start"].tolist() == starts
        assert set(found["path"]) <= set(files)


def test_from_new_audio_to_labels_to_the_next_run(own_data_run, tone, tmp_path):
    project = own_data_run.copy(tmp_path / "results")
    for index in range(6):
        tone(tmp_path / "more" / f"{index}.wav", 300 * 3 ** (index % 3))
    project.run("classify", **{"classify.audio": str(tmp_path / "more")})
    project.run("label_next", **{"label_next.n_clips": 4})
    table = pd.read_csv(project.data / NEW / "label_next.csv")
    assert len(table) == table["path"].nunique() == 4
    assert table["label"].isna().all()
    assert set(table["suggestion"]) <= {"low", "mid", "high"}
    assert "data:audio/flac" in (project.data / NEW / "label_next.html").read_text()

    labels = tmp_path / "labels.csv"
    table[["path", "start", "end"]].assign(label="mid").to_csv(labels, index=False)
    project.run("data_engineering", labels=str(labels))
    manifest = project.table("03_primary/own_data/manifest.parquet")
    assert (manifest["label"] == "mid").sum() == 10 + 4

    project.run("label_next", labels=str(labels))
    rest = pd.read_csv(project.data / NEW / "label_next.csv")
    assert len(rest) == 2
    assert not set(rest["path"]) & set(table["path"])

    like = str(tmp_path / "more" / "5.wav")
    project.run("label_next", like=like, **{"label_next.n_clips": 2})
    similar = pd.read_csv(project.data / NEW / "label_next.csv")
    assert [path.rsplit("/", 1)[1] for path in similar["path"]] == ["5.wav", "2.wav"]
    project.run("model", **{"model.encoder": "unfused", "model.protocol": "linear_probe"})
    with pytest.raises(UserError, match="classify again"):
        project.run("label_next")
    with pytest.raises(UserError, match="labels="):
        project.copy_settings(tmp_path / "none").run("decar", data=None, labels=str(labels))
