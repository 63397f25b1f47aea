"""Datasets that are folders: what they refuse, and what they hand on."""

import numpy as np
import pytest
from kedro.io import DatasetError
from matplotlib.figure import Figure

from unfused.core.outputs import RECORD
from unfused.data.log_mel import FrontEnd
from unfused.data.store import LogMelStore
from unfused.datasets.files import FigureDataset
from unfused.datasets.folders import CorpusDataset, FolderDataset, ModelDataset
from unfused.datasets.outputs import (
    AudioFolderDataset,
    CandidatesDataset,
    EncodersDataset,
    LogMelStoreDataset,
    OutputsDataset,
)
from unfused.encoders import AudioNTT, TrainedEncoder, provenance, save_encoder
from unfused.encoders.collection import EncoderCollection
from unfused.probes.candidates import Candidate

FOLDERS = [
    *(FolderDataset, CorpusDataset, ModelDataset, OutputsDataset, LogMelStoreDataset),
    *(EncodersDataset, AudioFolderDataset, CandidatesDataset),
]


def save_encoders(folder, *names):
    for name in names:
        module = AudioNTT(d=8, channels=2, n_mels=16).truncated("block1")
        facts = provenance(method="decar", seed=0, parameters={})
        save_encoder(folder / name, TrainedEncoder(module, "audio_ntt", {}, 0.0, 1.0, facts))


def save_store(folder):
    LogMelStore.write(folder, FrontEnd(), {"a": np.zeros((20, 64), dtype="f4")})
    return LogMelStore.open(folder)


@pytest.mark.parametrize("dataset", FOLDERS)
def test_a_missing_folder_does_not_exist(dataset, tmp_path):
    missing = dataset(filepath=str(tmp_path / "missing"))
    assert not missing.exists()
    assert str(tmp_path / "missing") in str(missing)


@pytest.mark.parametrize("dataset", FOLDERS)
def test_metadata_is_kept_for_kedro_viz(dataset, tmp_path):
    metadata = {"kedro-viz": {"layer": "models"}}
    assert dataset(filepath=str(tmp_path), metadata=metadata).metadata == metadata


def test_a_folder_is_copied_in_the_place_of_the_old_one(tmp_path):
    dataset = FolderDataset(filepath=str(tmp_path / "kept"))
    for name in ("old", "new"):
        made = tmp_path / name
        made.mkdir()
        (made / f"{name}.txt").write_text(name)
        (made / RECORD).write_text("{}")  # what the folder was made of is the cache's own
        dataset.save(made)
    assert dataset.load() == tmp_path / "kept"
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["new.txt"]
    assert (made / RECORD).exists()
    with pytest.raises(DatasetError, match="absent"):
        dataset.save(tmp_path / "absent")
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["new.txt"]


def test_a_folder_that_is_not_there_is_not_listed(tmp_path):
    dataset = OutputsDataset(filepath=str(tmp_path / "outputs.json"))
    with pytest.raises(DatasetError, match="absent"):
        dataset.save({"a": tmp_path, "b": tmp_path / "absent"})
    assert not dataset.exists()
    (tmp_path / "made").mkdir()
    dataset.save({"a": tmp_path / "made"})
    assert dataset.load() == {"a": tmp_path / "made"}
    (tmp_path / "made").rmdir()
    assert not dataset.exists()


def test_candidates_come_back_as_they_were(tmp_path):
    candidates = [
        Candidate("decar", "", 0, 1, {"kind": "encoder"}, str(tmp_path / "encoder"), "fc2"),
        Candidate("mfcc_statistics", "", 0, 1, {"kind": "mfcc_statistics"}),
    ]
    dataset = CandidatesDataset(filepath=str(tmp_path / "run/candidates.json"))
    dataset.save(candidates)
    assert dataset.load() == candidates


def test_an_unfinished_store_is_refused(tmp_path):
    store = save_store(tmp_path / "store")
    dataset = LogMelStoreDataset(filepath=str(tmp_path / "store.json"))
    dataset.save(store)
    assert list(dataset.load().clip_ids) == ["a"]
    (tmp_path / "store/index.parquet").unlink()
    with pytest.raises(DatasetError, match="store"):
        dataset.load()


def test_a_missing_store_says_where(tmp_path):
    with pytest.raises(DatasetError, match="missing"):
        LogMelStoreDataset(filepath=str(tmp_path / "missing")).load()


def test_encoders_are_found_again_wherever_they_lie(tmp_path):
    save_encoders(tmp_path / "project/here", "a")
    save_encoders(tmp_path / "project/elsewhere", "b")
    dataset = EncodersDataset(filepath=str(tmp_path / "project/run/encoders.json"))
    assert not dataset.exists()
    folders = {
        "seed1-fold0": tmp_path / "project/here/a",
        "seed0-fold0": tmp_path / "project/elsewhere/b",
    }
    dataset.save(EncoderCollection(folders))
    assert dataset.exists()
    (tmp_path / "project").rename(tmp_path / "moved")
    moved = EncodersDataset(filepath=str(tmp_path / "moved/run/encoders.json")).load()
    assert moved.names() == ["seed0-fold0", "seed1-fold0"]
    assert moved.load("seed1-fold0").encoder.dim == moved.load("seed0-fold0").encoder.dim


def test_an_audio_folder_is_a_path(tmp_path):
    dataset = AudioFolderDataset(filepath=str(tmp_path / "audio.json"))
    with pytest.raises(DatasetError, match=r"audio\.json"):
        dataset.load()
    (tmp_path / "audio/corpus").mkdir(parents=True)
    dataset.save(tmp_path / "audio/corpus")
    assert dataset.load() == tmp_path / "audio/corpus"
    with pytest.raises(DatasetError, match="other"):
        dataset.save(tmp_path / "other")


def test_a_player_escapes_file_names(tmp_path):
    (tmp_path / "a<b>.flac").write_bytes(b"x")
    dataset = AudioFolderDataset(filepath=str(tmp_path / "audio.json"))
    dataset.save(tmp_path)
    assert "a&lt;b&gt;.flac" in dataset.preview()


def test_a_figure_is_read_back_as_a_picture(tmp_path):
    dataset = FigureDataset(filepath=str(tmp_path / "figure.png"))
    dataset.save(Figure(figsize=(2, 1)))
    assert dataset.load().startswith(b"\x89PNG")
