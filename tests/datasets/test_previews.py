from __future__ import annotations

import base64
import inspect
import io
import re

import numpy as np
import pandas as pd
import pytest
from kedro_datasets._typing import HTMLPreview
from PIL import Image

from unfused.data.log_mel import FrontEnd
from unfused.data.store import LogMelStore
from unfused.datasets.files import (
    CSVTableDataset,
    FigureDataset,
    JSONTextDataset,
    PageDataset,
    ParquetTableDataset,
    PlainTextDataset,
)
from unfused.datasets.folders import CorpusDataset, FolderDataset, ModelDataset
from unfused.datasets.outputs import (
    AudioFolderDataset,
    CandidatesDataset,
    EncodersDataset,
    LogMelStoreDataset,
    OutputsDataset,
)
from unfused.datasets.previews import NOT_MADE
from unfused.encoders import AudioNTT, TrainedEncoder, provenance, save_encoder
from unfused.encoders.collection import EncoderCollection


def rows(page):
    """Return the texts of a table's cells, row by row."""
    return [re.findall(r"<t[hd] [^>]*>(.*?)</t[hd]>", row) for row in page.split("<tr>")[1:]]


def test_cells_of_a_table_are_plain(tmp_path):
    table = pd.DataFrame(
        {
            "path": ["a" * 80 + ".wav", "b.wav"],
            "score": [0.123456, np.nan],
            "count": pd.array([3, None], dtype="Int64"),
            "sizes": [[1, 2], [3]],
        },
        index=[5, 9],
    )
    dataset = ParquetTableDataset(filepath=str(tmp_path / "table.parquet"))
    dataset.save(table)
    header, first, second = rows(dataset.preview(nrows=2))
    assert header == list(table)
    assert first[0].endswith("a.wav")
    assert len(first[0]) == 60
    assert first[1:] == ["0.1235", "3", "1, 2"]
    assert second == ["b.wav", "", "", "3"]
    assert len(rows(dataset.preview(nrows=1))) == 2
    assert "2 rows, 4 columns; the first 1:" in dataset.preview(nrows=1)


def test_an_empty_table_shows_its_columns(tmp_path):
    dataset = CSVTableDataset(filepath=str(tmp_path / "t.csv"), save_args={"index": False})
    dataset.save(pd.DataFrame({"path": [], "reason": []}))
    assert dataset.preview() == "<p>0 rows, 2 columns: path, reason</p>"


def test_a_text_is_shown_as_it_stands(tmp_path):
    dataset = PlainTextDataset(filepath=str(tmp_path / "t.md"))
    dataset.save("a_b <c>\n\nd")
    assert dataset.preview() == ("<pre style='white-space: pre-wrap'>aˍb &lt;c&gt;<br><br>d</pre>")
    dataset.save("x" * 100)
    assert dataset.preview(characters=10).endswith("xxxxxxxxxx<br>…</pre>")


@pytest.mark.parametrize("n_clips", [1, 2, 5])
def test_a_store_is_shown_as_a_picture(tmp_path, n_clips):
    rng = np.random.default_rng(0)
    clips = {f"clip{i}": rng.normal(size=(30 + i, 64)).astype("f4") for i in range(n_clips)}
    dataset = LogMelStoreDataset(filepath=str(tmp_path / "store.json"))
    dataset.save(LogMelStore.write(tmp_path / "store", FrontEnd(), clips))
    shown = dataset.preview(n_clips=4)
    picture = re.search("src='data:image/png;base64,([^']+)'", shown)[1]
    assert Image.open(io.BytesIO(base64.b64decode(picture))).format == "PNG"


def test_encoders_are_shown_one_a_row(tmp_path):
    for seed in (0, 1):
        encoder = AudioNTT(d=8, channels=2, n_mels=16).truncated("block3")
        facts = provenance(method="unfused student", seed=seed, parameters={}, source="shuffled")
        trained = TrainedEncoder(encoder, "audio_ntt", {"n_mels": 16}, 0.0, 1.0, facts)
        save_encoder(tmp_path / f"shuffled-seed{seed}-fold0", trained)
    names = [f"shuffled-seed{seed}-fold0" for seed in (0, 1)]
    dataset = EncodersDataset(filepath=str(tmp_path / "encoders.json"))
    dataset.save(EncoderCollection({name: tmp_path / name for name in names}))
    header, *lines = rows(dataset.preview())
    shown = [dict(zip(header, line, strict=True)) for line in lines]
    assert [row["name"] for row in shown] == ["shuffled-seed0-fold0", "shuffled-seed1-fold0"]
    assert shown[1]["seed"] == "1"
    assert shown[0]["pseudo-labels of"] == "shuffled"
    assert shown[0]["parameters"] == str(encoder.n_parameters)
    assert shown[0]["cut"] == "block3"


def test_a_folder_of_audio_is_played(tmp_path):
    for index in range(9):
        (tmp_path / f"note_{index}.flac").write_bytes(bytes([index]))
    dataset = AudioFolderDataset(filepath=str(tmp_path / "audio.json"))
    dataset.save(tmp_path)
    page = dataset.preview(n_clips=3)
    assert page.count("<audio controls") == 3
    assert f"data:audio/flac;base64,{base64.b64encode(bytes([3])).decode()}" in page


@pytest.mark.parametrize(
    "dataset",
    [
        *(AudioFolderDataset, CSVTableDataset, EncodersDataset, FigureDataset),
        *(JSONTextDataset, LogMelStoreDataset, ParquetTableDataset, PlainTextDataset),
        *(CandidatesDataset, CorpusDataset, FolderDataset, ModelDataset, OutputsDataset),
        PageDataset,
    ],
)
def test_what_does_not_exist_yet_is_described_all_the_same(tmp_path, dataset):
    metadata = {"description": "Two lines\n about a_file."}
    missing = dataset(filepath=str(tmp_path / "missing"), metadata=metadata)
    assert "Two lines about aˍfile." in missing.preview()
    assert missing.preview().endswith(NOT_MADE)
    assert inspect.signature(missing.preview).return_annotation is HTMLPreview


def test_a_description_stands_above_the_content(tmp_path):
    dataset = JSONTextDataset(
        filepath=str(tmp_path / "t.json"), metadata={"description": "About <it>."}
    )
    dataset.save({"mean": 1.5})
    shown = dataset.preview()
    assert shown.index("About &lt;it&gt;.") < shown.index('"mean": 1.5')
    assert NOT_MADE not in shown


def test_folders_are_shown_by_name(tmp_path):
    (tmp_path / "seed0-fold0").mkdir()
    assert "seed0-fold0" in FolderDataset(filepath=str(tmp_path)).preview()
    dataset = OutputsDataset(filepath=str(tmp_path / "outputs.json"))
    dataset.save({"decar": tmp_path / "seed0-fold0"})
    assert "decar" in dataset.preview()


def test_a_page_says_where_it_is(tmp_path):
    dataset = PageDataset(filepath=str(tmp_path / "page.html"))
    dataset.save("<p>long</p>")
    assert "page.html in a browser" in dataset.preview()
