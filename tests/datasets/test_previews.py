from __future__ import annotations

import base64
import inspect
import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from unfused.audio.log_mel import FrontEnd
from unfused.audio.store import LogMelStore
from unfused.datasets.figure import FigureDataset
from unfused.datasets.folders import AudioFolderDataset, EncodersDataset, LogMelStoreDataset
from unfused.datasets.tables import CSVTableDataset, ParquetTableDataset
from unfused.datasets.texts import JSONTextDataset, PlainTextDataset
from unfused.encoders import AudioNTT, TrainedEncoder, provenance, save_encoder


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
    shown = dataset.preview(nrows=2)
    assert shown["columns"] == list(table)
    first, second = shown["data"]
    assert first[0].endswith("a.wav")
    assert len(first[0]) == 60
    assert first[1:] == [0.1235, 3, "1, 2"]
    assert second == ["b.wav", "", "", "3"]
    assert len(dataset.preview(nrows=1)["data"]) == 1


def test_an_empty_table_shows_its_columns(tmp_path):
    dataset = CSVTableDataset(filepath=str(tmp_path / "t.csv"), save_args={"index": False})
    dataset.save(pd.DataFrame({"path": [], "reason": []}))
    assert dataset.preview() == {"index": [], "columns": ["path", "reason"], "data": []}


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
    LogMelStore.write(tmp_path, FrontEnd(), clips)
    picture = LogMelStoreDataset(filepath=str(tmp_path)).preview(n_clips=4)
    assert Image.open(io.BytesIO(base64.b64decode(picture))).format == "PNG"


def test_encoders_are_shown_one_a_row(tmp_path):
    for seed in (0, 1):
        encoder = AudioNTT(d=8, channels=2, n_mels=16).truncated("block3")
        facts = provenance(method="unfused student", seed=seed, parameters={}, source="shuffled")
        trained = TrainedEncoder(encoder, "audio_ntt", {"n_mels": 16}, 0.0, 1.0, facts)
        save_encoder(tmp_path / f"shuffled-seed{seed}-fold0", trained)
    shown = EncodersDataset(filepath=str(tmp_path)).preview()
    rows = [dict(zip(shown["columns"], row, strict=True)) for row in shown["data"]]
    assert [row["name"] for row in rows] == ["shuffled-seed0-fold0", "shuffled-seed1-fold0"]
    assert rows[1]["seed"] == 1
    assert rows[0]["pseudo-labels of"] == "shuffled"
    assert rows[0]["parameters"] == encoder.n_parameters
    assert rows[0]["cut"] == "block3"


def test_a_folder_of_audio_is_played(tmp_path):
    for index in range(9):
        (tmp_path / f"note_{index}.flac").write_bytes(bytes([index]))
    page = AudioFolderDataset(filepath=str(tmp_path)).preview(n_clips=3)
    assert page.count("<audio controls") == 3
    assert f"data:audio/flac;base64,{base64.b64encode(bytes([3])).decode()}" in page


@pytest.mark.parametrize(
    "dataset",
    [
        *(AudioFolderDataset, CSVTableDataset, EncodersDataset, FigureDataset),
        *(JSONTextDataset, LogMelStoreDataset, ParquetTableDataset, PlainTextDataset),
    ],
)
def test_what_does_not_exist_yet_has_no_preview(tmp_path, dataset):
    missing = dataset(filepath=str(tmp_path / "missing"))
    assert missing.preview() is None
    assert str(inspect.signature(missing.preview).return_annotation).endswith("Preview")
