"""A file dataset leaves a whole file, whatever happens while it writes; its preview is plain."""

import inspect
import re

import numpy as np
import pandas as pd
import pytest
from kedro.io import DatasetError

from unfused.datasets.files import (
    NOT_MADE,
    CSVTableDataset,
    FigureDataset,
    JSONTextDataset,
    PageDataset,
    ParquetTableDataset,
    PlainTextDataset,
    WholeFile,
)

TABLE = pd.DataFrame({"a": [1, 2]})
KINDS = [
    (ParquetTableDataset, "a.parquet", TABLE),
    (CSVTableDataset, "a.csv", TABLE),
    (JSONTextDataset, "a.json", {"a": 1}),
    (PlainTextDataset, "a.md", "words"),
    (PageDataset, "a.html", "<p>words</p>"),
    (FigureDataset, "a.png", b"\x89PNG"),
]


@pytest.mark.parametrize(("kind", "name", "data"), KINDS)
def test_what_is_written_can_be_read_and_leaves_nothing_beside_it(tmp_path, kind, name, data):
    dataset = kind(filepath=str(tmp_path / "folder" / name))
    dataset.save(data)
    dataset.save(data)
    assert [path.name for path in (tmp_path / "folder").iterdir()] == [name]
    assert dataset.filepath == tmp_path / "folder" / name
    assert len(dataset.load())


@pytest.mark.parametrize(("kind", "name", "data"), KINDS)
def test_a_write_that_fails_keeps_the_old_file(tmp_path, monkeypatch, kind, name, data):
    dataset = kind(filepath=str(tmp_path / name))
    dataset.save(data)
    before = (tmp_path / name).read_bytes()

    def full(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("unfused.datasets.files.os.replace", full)
    with pytest.raises(DatasetError, match="No space left"):
        dataset.save(data)
    assert (tmp_path / name).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_reader_never_sees_half_a_file(tmp_path):
    seen = []

    class Plain:
        def save(self, data):
            seen.append((self._filepath.name, target.exists()))
            (tmp_path / self._filepath.name).write_text(data)

    class Watched(WholeFile, Plain):
        _protocol = "file"

    target = tmp_path / "a.txt"
    watched = Watched()
    watched._filepath = target
    watched.save("words")
    (name, there), *_ = seen
    assert name != "a.txt"
    assert not there
    assert target.read_text() == "words"


@pytest.mark.parametrize("kind", [kind for kind, *_ in KINDS])
def test_what_does_not_exist_yet_is_described_all_the_same(tmp_path, kind):
    metadata = {"description": "Two lines\n about a_file."}
    missing = kind(filepath=str(tmp_path / "missing"), metadata=metadata)
    assert "Two lines about aˍfile." in missing.preview()
    assert missing.preview().endswith(NOT_MADE)
    assert inspect.signature(missing.preview).return_annotation.__name__ == "HTMLPreview"


def cells(page):
    """Return the texts of a table's cells, row by row."""
    rows = re.findall(r"<tr.*?>(.*?)</tr>", page)
    return [re.findall(r"<t[hd]>(.*?)</t[hd]>", row) for row in rows]


def test_cells_of_a_table_are_plain(tmp_path):
    table = pd.DataFrame(
        {
            "a_path": ["a" * 80 + "<x>_", "b.wav"],
            "score": [0.123456, np.nan],
            "sizes": [[1, 2], [3]],
        },
        index=[5, 9],
    )
    dataset = ParquetTableDataset(filepath=str(tmp_path / "table.parquet"))
    dataset.save(table)
    header, first, second = cells(dataset.preview(nrows=2))
    assert header == ["aˍpath", "score", "sizes"]
    assert first[0].endswith("aa&lt;x&gt;ˍ")
    assert len(first[0]) < 70
    assert first[1:] == ["0.1235", "[1, 2]"]
    assert second == ["b.wav", "", "[3]"]
    assert len(cells(dataset.preview(nrows=1))) == 2


def test_an_empty_table_shows_its_columns(tmp_path):
    dataset = CSVTableDataset(filepath=str(tmp_path / "t.csv"), save_args={"index": False})
    dataset.save(pd.DataFrame({"path": [], "reason": []}))
    assert "path, reason" in dataset.preview()
    assert "<table" not in dataset.preview()


def test_a_text_is_shown_as_it_stands(tmp_path):
    dataset = PlainTextDataset(filepath=str(tmp_path / "t.md"))
    dataset.save("a_b <c>\n\nd")
    assert dataset.preview() == "<pre style='white-space: pre-wrap'>aˍb &lt;c&gt;<br><br>d</pre>"
    dataset.save("x" * 100)
    assert dataset.preview(characters=10).endswith("xxxxxxxxxx<br>…</pre>")


def test_a_description_stands_above_the_content(tmp_path):
    metadata = {"description": "About <it>."}
    dataset = JSONTextDataset(filepath=str(tmp_path / "t.json"), metadata=metadata)
    dataset.save({"mean": 1.5})
    shown = dataset.preview()
    assert shown.index("About &lt;it&gt;.") < shown.index('"mean": 1.5')
    assert NOT_MADE not in shown


def test_a_page_is_shown_unless_it_is_large(tmp_path, monkeypatch):
    dataset = PageDataset(filepath=str(tmp_path / "page.html"))
    dataset.save("<style>p {}</style><p>a_b</p>\n\n<audio src='data:x_y'></audio>")
    assert dataset.preview() == "<p>aˍb</p>  <audio src='data:x_y'></audio>"
    monkeypatch.setattr("unfused.datasets.files.LARGEST", 10)
    assert "page.html" in dataset.preview()
    assert "<audio" not in dataset.preview()


def test_a_figure_is_read_back_as_a_picture(tmp_path):
    dataset = FigureDataset(filepath=str(tmp_path / "figure.png"))
    dataset.save(b"\x89PNG\r\n")
    assert dataset.load() == b"\x89PNG\r\n"
    assert "<img src='data:image/png;base64,iVBORw0K'" in dataset.preview()
