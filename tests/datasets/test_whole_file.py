"""A file dataset leaves a whole file, whatever happens while it writes."""

import matplotlib

matplotlib.use("Agg")
import pandas as pd
import pytest
from kedro.io import DatasetError
from matplotlib.figure import Figure

from unfused.datasets.files import (
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
    (FigureDataset, "a.png", Figure()),
]


@pytest.mark.parametrize(("kind", "name", "data"), KINDS)
def test_what_is_written_can_be_read_and_leaves_nothing_beside_it(tmp_path, kind, name, data):
    dataset = kind(filepath=str(tmp_path / "folder" / name))
    dataset.save(data)
    dataset.save(data)
    assert [path.name for path in (tmp_path / "folder").iterdir()] == [name]
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
