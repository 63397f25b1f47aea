"""Which runs are finished: those with results, and parameters written after them."""

import json
import os

import pandas as pd
import pytest
from kedro.io import DatasetError

from unfused.datasets.folders import PARAMETERS, RESULTS, RunFilesDataset


def write_run(root, name, *, results=True, parameters=True, parameters_age=0):
    folder = root / "runs" / name
    (folder / "06_models").mkdir(parents=True)
    if results:
        (folder / RESULTS).parent.mkdir(parents=True)
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
    with pytest.raises(DatasetError, match="run_name=<name> makes one"):
        RunFilesDataset(filepath=str(tmp_path)).load()
