"""Datasets that are folders: what they refuse, and what they hand on."""

import numpy as np
import pytest
from kedro.io import DatasetError
from matplotlib.figure import Figure
from unfused.core.workspace import Workspace
from unfused.datasets.figure import FigureDataset

from unfused.data.log_mel import FrontEnd
from unfused.data.store import LogMelStore
from unfused.datasets.folders import (
    AudioFolderDataset,
    EncodersDataset,
    LogMelStoreDataset,
    WorkspaceDataset,
)
from unfused.encoders import AudioNTT, TrainedEncoder, provenance, save_encoder
from unfused.encoders.collection import EncoderCollection

FOLDERS = [WorkspaceDataset, LogMelStoreDataset, EncodersDataset, AudioFolderDataset]


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


def test_a_workspace_is_a_handle_on_a_folder_that_may_not_exist_yet(tmp_path):
    dataset = WorkspaceDataset(filepath=str(tmp_path / "later"))
    workspace = dataset.load()
    assert workspace.path == tmp_path / "later"
    assert not workspace.path.exists()
    with pytest.raises(DatasetError, match="a workspace is an input"):
        dataset.save(Workspace(tmp_path / "later"))


def test_a_store_elsewhere_is_refused(tmp_path):
    store = save_store(tmp_path / "elsewhere")
    with pytest.raises(DatasetError, match="elsewhere is not the folder of this dataset"):
        LogMelStoreDataset(filepath=str(tmp_path / "here")).save(store)


def test_an_unfinished_store_is_refused(tmp_path):
    store = save_store(tmp_path / "store")
    dataset = LogMelStoreDataset(filepath=str(tmp_path / "store"))
    dataset.save(store)
    assert list(dataset.load().clip_ids) == ["a"]
    (tmp_path / "store/index.parquet").unlink()
    with pytest.raises(DatasetError, match="store"):
        dataset.save(store)


def test_a_missing_store_says_where(tmp_path):
    with pytest.raises(DatasetError, match="missing"):
        LogMelStoreDataset(filepath=str(tmp_path / "missing")).load()


def test_encoders_are_found_again_wherever_they_lie(tmp_path):
    save_encoders(tmp_path / "here", "a")
    save_encoders(tmp_path / "elsewhere", "b")
    dataset = EncodersDataset(filepath=str(tmp_path / "here"))
    assert not dataset.exists()
    folders = {"seed1-fold0": tmp_path / "here/a", "seed0-fold0": tmp_path / "elsewhere/b"}
    dataset.save(EncoderCollection(folders))
    assert dataset.exists()
    (tmp_path / "here").rename(tmp_path / "moved")
    moved = EncodersDataset(filepath=str(tmp_path / "moved")).load()
    assert moved.names() == ["seed0-fold0", "seed1-fold0"]
    assert moved.load("seed1-fold0").encoder.dim == moved.load("seed0-fold0").encoder.dim
    with pytest.raises(DatasetError, match="at least one"):
        dataset.save(EncoderCollection({}))


def test_an_audio_folder_is_a_path(tmp_path):
    dataset = AudioFolderDataset(filepath=str(tmp_path / "audio"))
    with pytest.raises(DatasetError, match="there is no audio"):
        dataset.load()
    (tmp_path / "audio/corpus").mkdir(parents=True)
    dataset.save(tmp_path / "audio/corpus")
    assert dataset.load() == tmp_path / "audio/corpus"
    with pytest.raises(DatasetError, match="is not in the subpath"):
        dataset.save(tmp_path / "other")


def test_a_player_escapes_file_names(tmp_path):
    (tmp_path / "a<b>.flac").write_bytes(b"x")
    dataset = AudioFolderDataset(filepath=str(tmp_path))
    dataset.save(tmp_path)
    assert "a&lt;b&gt;.flac" in dataset.preview()


def test_a_figure_is_read_back_as_a_picture(tmp_path):
    dataset = FigureDataset(filepath=str(tmp_path / "figure.png"))
    dataset.save(Figure(figsize=(2, 1)))
    assert dataset.load().startswith(b"\x89PNG")
