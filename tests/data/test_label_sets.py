"""Clips with several labels."""

import numpy as np
import pandas as pd
import pytest
import soundfile

from unfused.data.label_sets import label_counts, label_set, multi_hot, rarest_labels
from unfused.data.manifest import scan_audio
from unfused.data.splits import assign_splits
from unfused.data.table import ManifestError


@pytest.fixture
def table(tmp_path):
    """An AudioSet-style table: several labels in one cell."""
    rng = np.random.default_rng(0)
    lines = ["path,positive_labels"]
    for i in range(60):
        name = f"clip{i:02d}.wav"
        soundfile.write(tmp_path / name, rng.normal(size=800) * 0.1, 16000)
        labels = [["/m/dog", "/m/bell", "/m/rain"][i % 3]] + (["/m/rare"] if i % 10 == 0 else [])
        lines.append(f'{name},"{",".join(labels)}"')
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    return tmp_path / "labels.csv"


def scan(table, separator=","):
    columns = {"label": "positive_labels"}
    return scan_audio(table, corpus="set", columns=columns, label_separator=separator)[0]


def test_a_cell_holds_several_labels(table):
    manifest = scan(table)
    assert manifest["multi_label"].all()
    assert manifest["label"][0] == "/m/dog|/m/rare"
    assert label_counts(manifest["label"]) == {"/m/dog": 20, "/m/bell": 20, "/m/rain": 20,
                                               "/m/rare": 6}  # fmt: skip


def test_without_a_separator_a_cell_is_one_label(table):
    manifest = scan(table, separator=None)
    assert not manifest["multi_label"].any()
    assert manifest["label"][0] == "/m/dog,/m/rare"


def test_parts_are_cut_by_the_rarest_label(table):
    splits = assign_splits(scan(table)).merge(scan(table)[["clip_id", "label"]], on="clip_id")
    rare = splits[splits["label"].str.contains("rare")]["split"].value_counts()
    assert rare.to_dict() == {"train": 4, "valid": 1, "test": 1}


def test_a_bar_inside_a_label_is_refused():
    with pytest.raises(ManifestError, match="contains"):
        label_set("a|b, c", ",")
    assert label_set("b|a", "|") == "a|b"


def test_multi_hot_leaves_out_what_is_not_asked_for():
    assert multi_hot(["a|z", "", "b|a"], ["a", "b"]).tolist() == [
        [True, False], [False, False], [True, True]
    ]  # fmt: skip


def test_the_rarest_label_of_equally_rare_ones_is_the_first_by_name():
    sets = pd.Series(["a|b", "b", None, "c|a"])
    assert rarest_labels(sets).tolist() == ["a", "b", None, "c"]
