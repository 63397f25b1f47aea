"""Workspaces: reuse, resume, rebuild."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from unfused.core.runs import same_folder_of_others
from unfused.core.workspace import Workspace, fingerprint


def test_a_piece_is_reused_only_when_finished_with_the_same_fingerprint(tmp_path):
    workspace = Workspace(tmp_path)
    piece = workspace.piece("a", "one")
    assert not piece.finished
    (piece.path / "part").write_text("half")
    assert (workspace.piece("a", "one").path / "part").read_text() == "half"  # resumed
    piece.finish()
    assert workspace.piece("a", "one").finished
    other = workspace.piece("a", "two")
    assert not other.finished
    assert not (other.path / "part").exists()


def test_an_unfinished_piece_never_passes_for_a_finished_one(tmp_path):
    workspace = Workspace(tmp_path)
    workspace.piece("a", "one").finish()
    workspace.piece("a", "two")  # interrupted before finish()
    assert workspace.piece("a", "one").finished
    assert not workspace.piece("a", "two").finished


def test_a_finished_piece_is_set_aside_and_comes_back(tmp_path):
    workspace = Workspace(tmp_path)
    first = workspace.piece("a", "one")
    (first.path / "weights").write_text("1")
    first.finish()
    second = workspace.piece("a", "two")
    (second.path / "weights").write_text("2")
    second.finish()
    again = workspace.piece("a", "one")
    assert again.finished
    assert (again.path / "weights").read_text() == "1"
    assert (workspace.piece("a", "two").path / "weights").read_text() == "2"
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == ["a-one"]


def test_an_unfinished_piece_is_resumed_after_another_study(tmp_path):
    workspace = Workspace(tmp_path)
    (workspace.piece("a", "one").path / "half").write_text("x")
    workspace.piece("a", "two").finish()
    again = workspace.piece("a", "one")
    assert not again.finished
    assert (again.path / "half").read_text() == "x"


def test_fresh_ignores_what_is_finished(tmp_path):
    workspace = Workspace(tmp_path)
    workspace.piece("a", "one").finish()
    assert not workspace.piece("a", "one", fresh=True).finished


def test_a_torn_marker_counts_as_unfinished(tmp_path):
    piece = Workspace(tmp_path).piece("a", "one")
    (piece.path / "fingerprint.json").write_text('{"fingerpr')
    assert not piece.finished


def test_tables_are_built_once(tmp_path):
    calls = []

    def build(_):
        calls.append(1)
        return {"scores": pd.DataFrame({"x": [1, 2]})}

    workspace = Workspace(tmp_path)
    first = workspace.tables("t", "m", build)
    second = workspace.tables("t", "m", build)
    assert len(calls) == 1
    pd.testing.assert_frame_equal(first["scores"], second["scores"])


def test_tables_of_an_interrupted_build_are_built_again(tmp_path):
    def fail(_):
        raise KeyboardInterrupt

    workspace = Workspace(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        workspace.tables("t", "m", fail)
    tables = workspace.tables("t", "m", lambda _: {"s": pd.DataFrame({"x": [3]})})
    assert tables["s"]["x"].tolist() == [3]


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ({"lr": 0.1}, {"lr": 0.2}),
        (np.arange(3), np.arange(4)),
        (pd.DataFrame({"a": [1]}), pd.DataFrame({"a": [2]})),
        (pd.Series(["x", "y"]), pd.Series(["y", "x"])),
        (["ab", "c"], ["a", "bc"]),
    ],
)
def test_fingerprints_tell_values_apart(one, two):
    assert fingerprint(one) != fingerprint(two)
    assert fingerprint(one) == fingerprint(one)


def test_fingerprint_ignores_what_does_not_decide_the_result():
    from unfused.training.settings import TrainingSettings

    quiet = TrainingSettings(epochs=1, log_every=1)
    assert fingerprint(quiet) == fingerprint(TrainingSettings(epochs=1, log_every=50))
    assert fingerprint(quiet) != fingerprint(TrainingSettings(epochs=2, log_every=1))


def test_the_marker_is_readable(tmp_path):
    piece = Workspace(tmp_path).piece("a", "one")
    piece.finish()
    marker = json.loads((piece.path / "fingerprint.json").read_text())
    assert marker == {"fingerprint": "one"}


def test_a_finished_piece_of_another_run_is_taken_over(tmp_path):
    first = Workspace(tmp_path / "one/w")
    lent = first.piece("a", "mark")
    (lent.path / "inner").mkdir()
    (lent.path / "inner/weights").write_text("1")
    second = Workspace(tmp_path / "two/w", [first.path])
    assert not second.piece("a", "mark").finished  # not while it is unfinished
    lent.finish()
    third = Workspace(tmp_path / "three/w", [second.path, first.path])
    assert not third.piece("a", "other").finished
    piece = third.piece("a", "mark")
    assert piece.finished
    assert (piece.path / "inner/weights").read_text() == "1"
    assert lent.finished
    assert not third.piece("a", "mark", fresh=True).finished
    assert (lent.path / "inner/weights").read_text() == "1"


def test_a_piece_that_another_run_has_set_aside_is_taken_over(tmp_path):
    first = Workspace(tmp_path / "one")
    first.piece("a", "old").finish()
    first.piece("a", "new").finish()
    assert Workspace(tmp_path / "two", [first.path]).piece("a", "old").finished
    assert first.piece("a", "new").finished


def test_the_same_folder_of_other_runs(tmp_path):
    for name in ("w", "runs/k10/w", "runs/k20/w", "runs/k30/other"):
        (tmp_path / name).mkdir(parents=True)
    named = same_folder_of_others(tmp_path / "runs/k10/w", tmp_path)
    assert named == [tmp_path / "w", tmp_path / "runs/k20/w"]
    unnamed = same_folder_of_others(tmp_path / "w", tmp_path)
    assert unnamed == [tmp_path / "runs/k10/w", tmp_path / "runs/k20/w"]


def test_a_piece_that_another_run_moves_meanwhile_is_made_anew(tmp_path, monkeypatch, caplog):
    lender = Workspace(tmp_path / "lender")
    lent = lender.piece("a", "mark")
    (lent.path / "x").write_text("1", encoding="utf-8")
    lent.finish()

    def gone(source, target, **options):
        raise shutil.Error([(source, target, "gone")])

    monkeypatch.setattr("unfused.core.runs.shutil.copytree", gone)
    piece = Workspace(tmp_path / "borrower", lenders=[tmp_path / "lender"]).piece("a", "mark")
    assert not piece.finished
    assert "could not be taken over" in caplog.text
    assert [path.name for path in (tmp_path / "borrower").iterdir()] == ["a"]
