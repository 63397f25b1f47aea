"""Datasets that are folders, and files that say which folders there are."""

import base64
import json
import os
import re
import shutil

import numpy as np
import pandas as pd
import pytest
from kedro.io import DatasetError

from unfused.core import written
from unfused.core.outputs import RECORD, write_json
from unfused.data.log_mel import FrontEnd
from unfused.data.store import LogMelStore
from unfused.datasets.files import NOT_MADE
from unfused.datasets.folders import (
    PARAMETERS,
    RESULTS,
    CorpusDataset,
    FolderDataset,
    ModelDataset,
    RunFilesDataset,
    TextFilesDataset,
)
from unfused.datasets.outputs import (
    AudioFolderDataset,
    CandidatesDataset,
    EncodersDataset,
    LogMelStoreDataset,
    OutputsDataset,
)
from unfused.encoders import AudioNTT, TrainedEncoder, provenance, save_encoder
from unfused.encoders.trained import EncoderCollection
from unfused.probes.candidates import Candidate
from unfused.tasks.corpus import Corpus

EVERY = [
    *(AudioFolderDataset, CandidatesDataset, EncodersDataset, LogMelStoreDataset, OutputsDataset),
    *(CorpusDataset, FolderDataset, ModelDataset),
]


def save_encoders(folder, *names):
    for seed, name in enumerate(names):
        module = AudioNTT(d=8, channels=2, n_mels=16).truncated("block1")
        facts = provenance(method="unfused student", seed=seed, parameters={}, source="shuffled")
        save_encoder(folder / name, TrainedEncoder(module, "audio_ntt", {}, 0.0, 1.0, facts))
    return EncoderCollection({name: folder / name for name in names})


def save_store(folder, n_clips=1):
    clips = {f"clip{i}": np.full((20 + i, 64), -8, dtype="f4") for i in range(n_clips)}
    LogMelStore.write(folder, FrontEnd(), clips)
    return LogMelStore.open(folder)


@pytest.mark.parametrize("kind", EVERY)
def test_what_does_not_exist_yet_is_described_all_the_same(kind, tmp_path):
    metadata = {"description": "About it.", "kedro-viz": {"layer": "models"}}
    missing = kind(filepath=str(tmp_path / "missing"), metadata=metadata)
    assert not missing.exists()
    assert missing.metadata == metadata
    assert str(tmp_path / "missing") in str(missing)
    assert "About it." in missing.preview()
    assert missing.preview().endswith(NOT_MADE)


def test_folders_are_found_again_when_a_project_moves(tmp_path):
    for name in ("models/a", "models/b", "tables"):
        (tmp_path / "data" / name).mkdir(parents=True)
    dataset = OutputsDataset(filepath=str(tmp_path / "data/tables/found.json"))
    dataset.save({name: tmp_path / "data/models" / name for name in "ab"})
    assert dataset.exists()
    (tmp_path / "data").rename(tmp_path / "moved")
    moved = OutputsDataset(filepath=str(tmp_path / "moved/tables/found.json"))
    assert moved.load() == {name: tmp_path / "moved/models" / name for name in "ab"}
    assert "a, b" in moved.preview()
    (tmp_path / "moved/models/a").rmdir()
    assert not moved.exists()
    with pytest.raises(DatasetError, match="models/a"):
        moved.save({"a": tmp_path / "moved/models/a"})


def test_folders_are_found_where_data_is_a_link(tmp_path):
    (tmp_path / "far/data/models/a").mkdir(parents=True)
    (tmp_path / "deep/project").mkdir(parents=True)
    (tmp_path / "deep/project/data").symlink_to(tmp_path / "far/data")
    data = tmp_path / "deep/project/data"
    dataset = OutputsDataset(filepath=str(data / "tables/found.json"))
    dataset.save({"a": data / "models/a"})
    assert dataset.load() == {"a": data / "models/a"}
    assert dataset.exists()


def test_text_files_of_before_do_not_stay(tmp_path):
    dataset = TextFilesDataset(filepath=str(tmp_path / "tracks"))
    dataset.save({"a": "one", "b/c": "two"})
    assert dataset.load() == {"a": "one", "b/c": "two"}
    dataset.save({})
    assert not dataset.exists()


def test_a_log_mel_store_is_opened_where_it_lies(tmp_path):
    dataset = LogMelStoreDataset(filepath=str(tmp_path / "store.json"))
    dataset.save(save_store(tmp_path / "store", 5))
    assert len(dataset.load().clip_ids) == 5
    assert "<img src='data:image/png" in dataset.preview(n_clips=4)
    (tmp_path / "store/index.parquet").unlink()
    with pytest.raises(DatasetError, match="store"):
        dataset.load()


def test_encoders_are_a_mapping_shown_one_a_row(tmp_path):
    dataset = EncodersDataset(filepath=str(tmp_path / "encoders.json"))
    dataset.save(save_encoders(tmp_path, "seed0-fold0", "seed1-fold0"))
    assert dataset.load().names() == ["seed0-fold0", "seed1-fold0"]
    assert dataset.load().load("seed1-fold0").provenance["seed"] == 1
    rows = re.findall(r"<tr.*?>(.*?)</tr>", dataset.preview())
    assert len(rows) == 3
    assert all(text in rows[2] for text in ("seed1-fold0", "shuffled", "audioˍntt"))


def test_candidates_come_back_as_they_were(tmp_path):
    (tmp_path / "models/a").mkdir(parents=True)
    folder = str(tmp_path / "models/a")
    trained = Candidate("decar", "", 0, 1, {"kind": "encoder", "read_out": {}}, folder, "fc2", "x")
    plain = Candidate("mfcc_statistics", "", 0, 1, {"kind": "mfcc_statistics"})
    dataset = CandidatesDataset(filepath=str(tmp_path / "tables/candidates.json"))
    dataset.save([trained, plain])
    assert dataset.load() == [trained, plain]
    assert not re.search(re.escape(str(tmp_path)), dataset.filepath.read_text(encoding="utf-8"))
    assert "mfccˍstatistics" in dataset.preview()


def test_candidates_are_there_as_long_as_their_vectors_are(tmp_path):
    (tmp_path / "vectors").mkdir()
    candidate = Candidate("mfcc_statistics", "", 0, 0, {}, vectors=str(tmp_path / "vectors"))
    dataset = CandidatesDataset(filepath=str(tmp_path / "embeddings.json"))
    dataset.save([candidate])
    assert dataset.load() == [candidate]
    assert dataset.exists()
    (tmp_path / "vectors").rmdir()
    assert not dataset.exists()
    with pytest.raises(DatasetError, match="no folders"):
        dataset.save([candidate])
    write_json(dataset.filepath, {"decar": "folder"})  # as older versions wrote it
    written.note(dataset.filepath)
    with pytest.raises(DatasetError, match="older version: evaluate again"):
        dataset.load()


def test_a_folder_of_audio_is_played(tmp_path):
    folder = tmp_path / "audio"
    folder.mkdir()
    for index in range(9):
        (folder / f"a<b>_{index}.flac").write_bytes(bytes([index]))
    dataset = AudioFolderDataset(filepath=str(tmp_path / "audio.json"))
    dataset.save(folder)
    assert dataset.load() == folder
    page = dataset.preview(n_clips=3)
    assert page.count("<audio controls") == 3
    assert "a&lt;b&gt;ˍ0.flac" in page
    assert f"data:audio/flac;base64,{base64.b64encode(bytes([3])).decode()}" in page


def test_a_corpus_is_its_clips_and_where_the_log_mels_are(tmp_path):
    store = save_store(tmp_path / "store", 3)
    clips = pd.DataFrame({"clip_id": store.clip_ids, "corpus": "toy", "digest": store.clip_ids})
    clips = clips.assign(offset=0, frames=1, label=["a", "b", None], group=None)
    splits = clips[["clip_id", "digest", "offset", "frames"]].assign(fold=0, split="train")
    dataset = CorpusDataset(filepath=str(tmp_path / "corpus"))
    dataset.save(Corpus.of(store, clips, splits, name="my toys"))
    loaded = dataset.load()
    assert loaded.name == "my toys"
    assert loaded.mark == Corpus.of(store, clips, splits).mark
    assert loaded.part("train").labels.tolist() == ["a", "b"]
    assert "my toys" in dataset.preview()


def test_a_copy_takes_the_place_of_a_folder_as_a_whole(tmp_path):
    for name, files in (("one", ["a", "b", RECORD]), ("two", ["c"])):
        (tmp_path / name).mkdir()
        for file in files:
            (tmp_path / name / file).write_text(name)
    dataset = FolderDataset(filepath=str(tmp_path / "deep/place"))
    dataset.save(tmp_path / "one")
    assert {path.name for path in dataset.load().iterdir()} == {"a", "b", RECORD}
    shutil.copytree(tmp_path / "one", tmp_path / "deep/.place.unfinished")  # of a stopped run
    dataset.save(tmp_path / "two")
    assert [path.name for path in dataset.load().iterdir()] == ["c"]
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["place"]


def write_run(root, name, *, results=True, parameters=True, parameters_age=0):
    folder = root / "runs" / name
    (folder / RESULTS).parent.mkdir(parents=True)
    if results:
        pd.DataFrame({"value": [0.5]}).to_parquet(folder / RESULTS)
    if parameters:
        file = folder / PARAMETERS
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps({"k": name}), encoding="utf-8")
        when = (folder / RESULTS).stat().st_mtime if results else 1e9
        os.utime(file, (when + 1 - parameters_age,) * 2)


def test_unfinished_runs_are_named_and_left_out(tmp_path, caplog):
    write_run(tmp_path, "done")
    write_run(tmp_path, "stopped", results=False)
    write_run(tmp_path, "rerun", parameters_age=10)  # results are new, parameters of the run before
    write_run(tmp_path, "bare", parameters=False)
    dataset = RunFilesDataset(filepath=str(tmp_path))
    loaded = dataset.load()
    assert list(loaded) == ["done"]
    assert loaded["done"][1] == {"k": "done"}
    assert all(name in caplog.text for name in ("stopped", "rerun", "bare"))
    assert "done" in dataset.preview()


def test_without_a_finished_run_the_remedy_is_named(tmp_path):
    write_run(tmp_path, "stopped", results=False)
    with pytest.raises(DatasetError, match="run_name="):
        RunFilesDataset(filepath=str(tmp_path)).load()
