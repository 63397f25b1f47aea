"""Nothing in data becomes code, a path or a page: odd labels and names come through as they are."""

import json
import os
import re
import shutil

import numpy as np
import pandas as pd
import pytest
import torch

from unfused import load_classifier
from unfused.core.errors import UserError
from unfused.core.outputs import RECORD
from unfused.encoders.published import load_lape
from unfused.probes.candidates import Candidate, Vectors
from unfused.training.checkpoint import CheckpointError, load_checkpoint

from .test_viz import graph_and_answers

LABELS = [
    "../../x",
    "a/b",
    "<script>alert(1)</script>",
    "two\nlines",
    "y" * 300,
    "nan",
    "None",
    "01",
]
NAMES = ["<b>bold", "two\nlines", "n" * 200, "nan", "None", "01"]


class Code:
    """Leaves a trace where it is unpickled."""

    def __init__(self, trace):
        self.trace = str(trace)

    def __reduce__(self):
        return os.mkdir, (self.trace,)


def test_an_array_with_code_in_it_is_not_run(tmp_path):
    harmful = np.array([Code(tmp_path / "trace")], dtype=object)
    np.savez(tmp_path / "clips.npz", clip_ids=harmful, n_parameters=0)
    np.save(tmp_path / "vectors.npy", harmful)
    with pytest.raises(ValueError, match=r"allow_pickle|Python objects"):
        Vectors.load(Candidate("any", "", 0, 0, {}, vectors=str(tmp_path)))
    assert not (tmp_path / "trace").exists()


@pytest.fixture(scope="module")
def odd(kedro_project, own_data_run, tone, tmp_path_factory):
    """A study of odd labels and file names, its model exported, and its own audio classified."""
    folder = tmp_path_factory.mktemp("odd")
    rows = []
    for number, label in enumerate(LABELS):
        for index in range(6):
            file = folder / "audio" / f"{NAMES[index]}-{number}.wav"
            tone(file, 200 * 1.5**number)
            rows.append({"path": f"audio/{file.name}", "label": label})
    pd.DataFrame(rows).to_csv(folder / "list.csv", index=False)
    before = set(folder.parent.rglob("*"))
    project = own_data_run.copy_settings(folder / "results")
    project.params = {**own_data_run.params, "data": str(folder / "list.csv")}
    project.run()
    project.run("export", **{"export.onnx": False})
    project.run("classify", new_audio=str(folder / "audio"))
    outside = set(folder.parent.rglob("*")) - before
    assert all(path.is_relative_to(folder / "results") for path in outside)
    return project


def test_labels_come_through_every_table(odd):
    predictions = odd.table("07_model_output/predictions.parquet")
    assert set(predictions["label"]) == set(LABELS)
    assert set(odd.table("03_primary/own_data/manifest.parquet")["label"]) == set(LABELS)
    new = odd.data / "07_model_output/new_audio/predictions.csv"
    said = pd.read_csv(new, keep_default_na=False, dtype=str)
    assert set(said["top_1"]) <= set(LABELS)
    names = {f"{NAMES[index]}-{n}.wav" for n in range(len(LABELS)) for index in range(6)}
    assert {os.path.basename(path) for path in said["path"]} == names


def test_the_model_knows_the_labels(odd, tmp_path):
    for name in ("model", "exported_model"):
        model = load_classifier(
            shutil.copytree(odd.data / "07_model_output" / name, tmp_path / name)
        )
        assert sorted(model.classes_) == sorted(LABELS)
        assert (tmp_path / name / RECORD).is_file()


def test_no_label_becomes_a_part_of_a_page(odd):
    page = (odd.data / "08_reporting/report.html").read_text()
    card = (odd.data / "07_model_output/exported_model/README.md").read_text()
    assert "<script>alert" not in page
    assert "<b>bold" not in page
    code = re.findall(r"(?<!`)`([^`\n]+)`(?!`)", card)
    assert set(code) >= {" ".join(label.split()) for label in LABELS}
    assert "<script>alert" not in re.sub(r"(?<!`)`([^`\n]+)`(?!`)|```.*?```", "", card, flags=re.S)
    for source in ("src=", "href="):
        for quote in "\"'":
            assert f"{source}{quote}http" not in page


@pytest.mark.filterwarnings("ignore:ORJSONResponse")  # Kedro-Viz's own
def test_no_label_becomes_a_part_of_kedro_viz(odd, monkeypatch, caplog):
    _, found = graph_and_answers(odd, monkeypatch, caplog, data=odd.params["data"])
    answers = {name: json.dumps(answer) for name, answer in found.items()}
    assert "&lt;script&gt;alert" in answers["own_data.manifest"]
    assert "&lt;b&gt;bold" in answers["own_data.manifest"]
    for name, answer in answers.items():
        assert "<script>alert" not in answer, name
        assert "<b>bold" not in answer, name


def test_code_in_a_checkpoint_is_not_run(tmp_path):
    file, trace = tmp_path / "checkpoint.pt", tmp_path / "trace"
    torch.save({"state_dict": {"weight": Code(trace)}, "mark": "m"}, file)
    with pytest.raises(UserError, match=r"checkpoint\.pt"):
        load_lape(file, mean=0.0, std=1.0)
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(file, "m", "cpu")
    assert not trace.exists()
