from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from unfused.data.splits import assign_splits
from unfused.data.table import ManifestError


def manifest(labels: list[str | None], **columns: list) -> pd.DataFrame:
    table = pd.DataFrame(
        {
            "clip_id": [f"c{i}" for i in range(len(labels))],
            "path": [f"/audio/{i}.wav" for i in range(len(labels))],
            "digest": [f"d{i}" for i in range(len(labels))],
            "label": pd.Series(labels, dtype=object),
            "split": None,
            "group": None,
            "fold": pd.array([None] * len(labels), dtype="Int64"),
        }
    )
    for name, values in columns.items():
        table[name] = pd.array(values, dtype="Int64") if name == "fold" else values
    return table


def split_rows(splits: pd.DataFrame, fold: int, split: str) -> np.ndarray:
    part = splits[(splits["fold"] == fold) & (splits["split"] == split)]
    return part["clip_id"].to_numpy(dtype=str)


def labels_of(table: pd.DataFrame, splits: pd.DataFrame, part: str, fold: int = 0) -> pd.Series:
    return table.set_index("clip_id")["label"][split_rows(splits, fold, part)]


def test_a_missing_split_is_stratified_seeded_and_recorded() -> None:
    table = manifest(list("a" * 40 + "b" * 20 + "c"))
    splits = assign_splits(table, seed=3)
    assert labels_of(table, splits, "test").value_counts().to_dict() == {"a": 8, "b": 4}
    assert labels_of(table, splits, "valid").value_counts().to_dict() == {"a": 5, "b": 2}
    assert "c" in set(labels_of(table, splits, "train"))  # a single clip stays in training
    assert set(splits["made_by"]) == {"made stratified (seed 3)"}
    assert set(splits["fold"]) == {0}
    pd.testing.assert_frame_equal(splits, assign_splits(table, seed=3))
    assert not splits["split"].equals(assign_splits(table, seed=4)["split"])


@pytest.mark.parametrize("seed", range(5))
def test_a_group_is_never_on_two_sides(seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups = [f"s{i}" for i in rng.integers(0, 12, 300)]
    groups[0] = None
    table = manifest([str(i) for i in rng.integers(0, 4, 300)], group=groups)
    splits = assign_splits(table, seed=seed)
    assert splits["made_by"].str.startswith("made grouped").all()
    joined = table.merge(splits, on="clip_id")
    assert (joined.groupby("group")["split_y"].nunique() == 1).all()
    assert 0.1 < (splits["split"] == "test").mean() < 0.3
    assert 0.03 < (splits["split"] == "valid").mean() < 0.25


def test_three_groups_fill_three_parts_and_nested_groups_keep_every_class() -> None:
    table = manifest(list("ab") * 30, group=[f"s{i % 3}" for i in range(60)])
    splits = assign_splits(table)
    assert splits["split"].value_counts().to_dict() == {"train": 20, "valid": 20, "test": 20}
    nested = manifest([f"k{i // 20}" for i in range(60)], group=[f"g{i // 5}" for i in range(60)])
    for seed in range(5):
        parts = assign_splits(nested, seed=seed)
        assert set(labels_of(nested, parts, "train")) == {"k0", "k1", "k2"}
        assert set(labels_of(nested, parts, "test")) == {"k0", "k1", "k2"}


def test_groups_that_are_classes_are_an_error() -> None:
    table = manifest(list("abc") * 5, group=list("xyz") * 5)
    with pytest.raises(ManifestError, match="lose its only group"):
        assign_splits(table)


def test_two_groups_are_cut_by_label_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    splits = assign_splits(manifest(list("ab") * 20, group=list("xxyy") * 10))
    assert splits["made_by"].iloc[0].startswith("made stratified")
    assert "too few groups" in caplog.text


def test_given_folds_are_taken() -> None:
    table = manifest(list("ab") * 30, fold=[1 + i // 20 for i in range(60)])
    splits = assign_splits(table)
    assert len(splits) == 180
    for fold in (1, 2, 3):
        test = split_rows(splits, fold, "test")
        assert test.tolist() == [f"c{i}" for i in range(20 * (fold - 1), 20 * fold)]
        assert len(split_rows(splits, fold, "valid")) == 6
    assert splits["made_by"].iloc[0] == "given folds, inner stratified (seed 0)"


def test_given_splits_are_taken_and_a_missing_validation_part_is_cut() -> None:
    given = ["train"] * 40 + ["valid"] * 8 + ["test"] * 12
    splits = assign_splits(manifest(list("ab") * 30, split=given))
    assert splits["split"].tolist() == given
    assert set(splits["made_by"]) == {"given split"}
    given = ["train"] * 48 + ["test"] * 12
    table = manifest(list("ab") * 30, split=given, group=[f"g{i // 4}" for i in range(60)])
    splits = assign_splits(table)
    assert splits["split"][48:].eq("test").all()
    assert splits["split"][:48].value_counts()["valid"] == 8
    assert splits["made_by"][0] == "given split, inner grouped (seed 0)"


def test_unlabelled_clips_never_train_a_classifier_and_held_out_ones_nothing() -> None:
    labels = [*"ab" * 10, *[None] * 480]
    splits = assign_splits(manifest(labels))
    assert splits["split"].value_counts()["unlabelled"] == 480
    assert splits["split"][:20].isin(["train", "valid", "test"]).all()
    given = ["train"] * 15 + ["test"] * 5 + ["test"] * 10 + ["valid"] * 10 + [None] * 460
    splits = assign_splits(manifest(labels, split=given))
    assert splits["split"].value_counts()[["excluded", "unlabelled"]].tolist() == [20, 460]
    folds = [1 + i // 2 % 2 for i in range(20)] + [1] * 30 + [None] * 450
    splits = assign_splits(manifest(labels, fold=folds))
    first = splits[splits["fold"] == 1]["split"].value_counts()
    assert first[["excluded", "unlabelled"]].tolist() == [30, 450]
    assert "excluded" not in set(splits[splits["fold"] == 2]["split"])


def test_shared_groups_in_a_given_split_are_named(caplog: pytest.LogCaptureFixture) -> None:
    given = ["train"] * 20 + ["valid"] * 4 + ["test"] * 6
    assign_splits(manifest(list("ab") * 15, split=given, group=["s"] * 30))
    assert "both sides" in caplog.text


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (manifest(list("aabb"), split=["train"] * 4), "no test clip"),
        (manifest(list("aabb"), split=["test", "train"] * 2, group=None), ""),
        (manifest(list("aabb"), split=["train", "train", "test", "test"]), "1 class"),
        (manifest(list("ab")), "no labelled clip"),
    ],
)
def test_splits_that_cannot_be_used(table: pd.DataFrame, words: str) -> None:
    if not words:
        assert set(assign_splits(table)["split"]) == {"train", "test"}
        return
    with pytest.raises(ManifestError, match=words):
        assign_splits(table)


def test_fractions_are_checked() -> None:
    with pytest.raises(ManifestError, match=r"test_fraction=1\.5"):
        assign_splits(manifest(list("aabb")), test_fraction=1.5)


def test_clips_of_one_recording_are_a_group_where_there_is_no_other() -> None:
    table = manifest(list("ab") * 50, digest=[f"f{i // 10}" for i in range(100)])
    splits = assign_splits(table)
    assert set(splits["made_by"]) == {"made grouped (copies kept together) (seed 0)"}
    joined = table.drop(columns="split").merge(splits, on="clip_id")
    assert (joined.groupby("digest")["split"].nunique() == 1).all()


def test_unlabelled_audio_of_a_held_out_group_is_excluded() -> None:
    labels = ["a", "b", None] * 20
    table = manifest(labels, group=[f"s{i // 6}" for i in range(60)])
    joined = table.drop(columns="split").merge(assign_splits(table), on="clip_id")
    held_out = set(joined.loc[joined["split"].isin(["valid", "test"]), "group"])
    unlabelled = joined[joined["label"].isna()]
    expected = np.where(unlabelled["group"].isin(held_out), "excluded", "unlabelled")
    assert held_out
    assert unlabelled["split"].tolist() == expected.tolist()


def test_a_given_split_holds_out_the_unlabelled_audio_of_its_groups_too() -> None:
    labels = ["a", "b", None] * 20
    group = [f"s{i // 6}" for i in range(60)]
    part = ["train"] * 36 + ["valid"] * 12 + ["test"] * 12
    given = [name if label else None for name, label in zip(part, labels, strict=True)]
    table = manifest(labels, group=group, split=given)
    splits = assign_splits(table)["split"]
    assert splits[2::3].tolist() == ["unlabelled"] * 12 + ["excluded"] * 8
    shared = assign_splits(table.assign(group=["s0"] * 60))["split"]  # nothing would be left
    assert shared[2::3].tolist() == ["unlabelled"] * 20


def test_audio_in_two_given_parts_stays_in_the_held_out_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    given = ["train"] * 20 + ["valid"] * 6 + ["test"] * 6
    digests = [f"d{i}" for i in range(34)]
    digests[0], digests[1], digests[20], digests[33] = "d26", "d21", "d27", "d28"
    table = manifest([*"ab" * 16, None, None], split=[*given, None, None], digest=digests)
    splits = assign_splits(table)
    assert np.flatnonzero(splits["split"] == "excluded").tolist() == [0, 1, 20, 33]
    assert splits["split"][:32].drop([0, 1, 20]).tolist() == given[2:20] + given[21:]
    assert "left out 4 clips" in caplog.text
    assert "both sides" not in caplog.text


def test_a_copy_in_another_fold_or_group_is_left_out_of_training() -> None:
    digests = [f"d{i}" for i in range(60)]
    digests[40] = digests[0]
    folds = assign_splits(
        manifest(list("ab") * 30, fold=[i // 20 for i in range(60)], digest=digests)
    )
    excluded = folds[folds["split"] == "excluded"]
    assert {("c40", 0), ("c0", 2)} <= set(zip(excluded["clip_id"], excluded["fold"], strict=True))
    copies = [f"d{i % 30}" for i in range(60)]
    table = manifest(list("ab") * 30, group=[f"g{i // 5}" for i in range(60)], digest=copies)
    made = table.drop(columns="split").merge(assign_splits(table), on="clip_id")
    used = made[made["split"].isin(["train", "valid", "test"])]
    assert (used.groupby("digest")["split"].nunique() == 1).all()
    assert {"train", "valid", "test"} == set(used["split"])


def test_only_overlapping_parts_of_a_recording_are_left_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    given = ["train"] * 8 + ["valid"] * 2 + ["test"] * 2
    digests = [f"d{i}" for i in range(10)] + ["d0", "d1"]
    table = manifest(list("ab") * 6, split=given, digest=digests, frames=[100] * 12)
    table["offset"] = [0] * 10 + [50, 100]
    assert np.flatnonzero(assign_splits(table)["split"] == "excluded").tolist() == [0]
    assert "1 recordings stand on both sides" in caplog.text
    assert "e.g. /audio/1.wav" in caplog.text


def test_training_copies_of_a_class_that_are_all_tested_are_an_error() -> None:
    table = manifest(list("aab") + list("ab"), split=["train"] * 3 + ["test"] * 2)
    table.loc[2, "digest"] = table.loc[4, "digest"]
    with pytest.raises(ManifestError, match=r"1 class\(es\) in \d clips \(1 more"):
        assign_splits(table)


def test_folds_win_over_a_split_and_say_so(caplog: pytest.LogCaptureFixture) -> None:
    given = ["train"] * 20 + ["test"] * 10
    splits = assign_splits(
        manifest(list("ab") * 15, split=given, fold=[i // 10 for i in range(30)])
    )
    assert set(splits["fold"]) == {0, 1, 2}
    assert "the 3 folds are taken" in caplog.text


@pytest.mark.parametrize("seed", range(8))
def test_a_group_with_the_last_clips_of_a_class_stays_in_training(seed: int) -> None:
    """Each group would suit a held-out part; three of them hold all there is of a class."""
    labels = [label for i in range(10) for label in ["a"] * 10 + ["rare" + str(i % 10)] * (i < 3)]
    groups = [f"g{i}" for i in range(10) for _ in range(10 + (i < 3))]
    table = manifest(labels, group=groups)
    splits = assign_splits(table, seed=seed, valid_fraction=0.4, test_fraction=0.4)
    assert set(splits["split"]) == {"train", "valid", "test"}
    assert set(labels_of(table, splits, "train")) == {"a", "rare0", "rare1", "rare2"}


@pytest.mark.parametrize("seed", range(4))
def test_large_groups_too_leave_every_class_in_training(seed: int) -> None:
    """Every group is larger than the part: the best one is taken that takes no class away."""
    labels = [*"a" * 40, "rare", *"a" * 41, *"b" * 41]
    groups = ["g0"] * 41 + ["g1"] * 41 + ["g2"] * 20 + ["g3"] * 21
    table = manifest(labels, group=groups)
    splits = assign_splits(table, seed=seed, valid_fraction=0.01, test_fraction=0.01)
    assert set(labels_of(table, splits, "train")) == {"a", "b", "rare"}


@pytest.mark.parametrize("seed", range(4))
def test_few_clips_leave_every_class_in_training(seed: int) -> None:
    table = manifest(list("aaabbc"))
    splits = assign_splits(table, seed=seed, valid_fraction=0.9, test_fraction=0.9)
    assert set(labels_of(table, splits, "train")) == {"a", "b", "c"}


@pytest.mark.parametrize("labels", [[None] * 4, ["a", "a", None, "a"]])
def test_without_two_classes_nothing_is_cut_and_what_is_given_counts(labels: list) -> None:
    assert assign_splits(manifest(labels))["split"].tolist() == ["unlabelled"] * 4
    given = assign_splits(manifest(labels, split=["train", "test", "valid", None]))
    assert given["split"].tolist() == ["unlabelled", "excluded", "excluded", "unlabelled"]


@pytest.mark.parametrize("grouped", [False, True])
def test_few_clips_are_each_tested_once_in_made_folds(grouped, caplog):
    clips = manifest(
        list("abcd") * 25, group=[f"g{i // 5}" if grouped else None for i in range(100)]
    )
    splits = assign_splits(clips, n_folds="auto")
    assert sorted(splits["fold"].unique()) == [1, 2, 3, 4, 5]
    assert (splits[splits["split"] == "test"]["clip_id"].value_counts() == 1).all()
    assert (splits["split"] == "test").sum() == 100
    for _, fold in splits.groupby("fold"):
        parts = fold.merge(clips.drop(columns=["fold", "split"]), on="clip_id")
        assert parts.loc[parts["split"] == "train", "label"].nunique() == 4
        assert parts.loc[parts["split"] == "test", "label"].value_counts().between(2, 8).all()
        if grouped:
            tested = set(parts.loc[parts["split"] == "test", "group"])
            assert not tested & set(parts.loc[parts["split"] != "test", "group"])
    assert "in 5 folds" in caplog.text
    pd.testing.assert_frame_equal(splits, assign_splits(clips, n_folds="auto"))


def test_folds_are_made_for_few_clips_alone_or_when_asked(caplog):
    assert set(assign_splits(manifest(list("abcd") * 125), n_folds="auto")["fold"]) == {0}
    assert set(assign_splits(manifest(list("abcd") * 125), n_folds=3)["fold"]) == {1, 2, 3}
    assert not caplog.records  # who asks for folds need not be told that there are some
    assert set(assign_splits(manifest(list("abcd") * 25))["fold"]) == {0}
    given = manifest(list("abcd") * 25).assign(split="train")
    given.loc[:10, "split"] = "test"
    assert set(assign_splits(given, n_folds="auto")["fold"]) == {0}


def test_pieces_of_a_recording_are_one_group_beside_given_groups():
    """Those without a group take that of their recording, or the recording itself."""
    rows = [(f"g{i}", f"speaker{i % 6}", f"file{i}", "ab"[i % 2]) for i in range(12)]
    rows += [(f"p{i}", None, "long", "ab"[i % 2]) for i in range(20)]
    rows += [(f"q{i}", None, "file0", "ab"[i % 2]) for i in range(4)]
    manifest = pd.DataFrame(rows, columns=["clip_id", "group", "digest", "label"])
    manifest = manifest.assign(split=None, fold=pd.NA, offset=range(len(manifest)), frames=1)
    splits = assign_splits(manifest, seed=0)
    parts = manifest.merge(splits, on="clip_id", suffixes=("_given", ""))
    for digest in ("long", "file0"):
        assert parts.loc[parts["digest"] == digest, "split"].nunique() == 1
    same = parts.loc[parts["group"].eq("speaker0"), "split"].unique()
    assert set(same) == set(parts.loc[parts["digest"] == "file0", "split"])
