"""No encoder is pre-trained on what a task validates or tests on."""

import pandas as pd
import pytest

from unfused.tasks.leakage import NO_TASK, select_pretraining_clips, training_clips


def table(rows):
    clips = pd.DataFrame(rows, columns=["clip_id", "digest", "fold", "split"])
    return clips.assign(offset=0, frames=100, made_by="given split")


FIXED = table([("a1", "A1", 0, "train"), ("a2", "A2", 0, "valid"), ("a3", "A3", 0, "test"),
               ("a4", "A4", 0, "unlabelled")])  # fmt: skip
FOLDED = table(
    [(f"b{clip}", f"B{clip}", fold, "test" if clip == fold else "train")
     for fold in (1, 2) for clip in (1, 2, 3)]
)  # fmt: skip


def test_held_out_clips_are_left_out():
    chosen = select_pretraining_clips({"a": FIXED})
    assert chosen["clip_id"].tolist() == ["a1", "a4"]
    assert chosen["corpus"].unique().tolist() == ["a"]


def test_every_fold_leaves_out_its_own_test_clips():
    chosen = select_pretraining_clips({"a": FIXED, "b": FOLDED})
    by_fold = chosen.groupby("fold")["clip_id"].agg(set).to_dict()
    assert by_fold == {1: {"a1", "a4", "b2", "b3"}, 2: {"a1", "a4", "b1", "b3"}}


def test_folds_may_start_at_0():
    zero_based = FOLDED.assign(fold=FOLDED["fold"] - 1)
    of_folds = {0: {"b2", "b3"}, 1: {"b1", "b3"}}
    alone = select_pretraining_clips({"b": zero_based})
    assert alone.groupby("fold")["clip_id"].agg(set).to_dict() == of_folds
    beside = select_pretraining_clips({"a": FIXED, "b": zero_based})
    expected = {fold: clips | {"a1", "a4"} for fold, clips in of_folds.items()}
    assert beside.groupby("fold")["clip_id"].agg(set).to_dict() == expected


def test_a_copy_of_a_test_clip_in_another_corpus_is_left_out():
    pool = table([("p1", "A3", 0, "unlabelled"), ("p2", "P2", 0, "unlabelled")])
    chosen = select_pretraining_clips({"a": FIXED, "pool": pool})
    assert set(chosen["clip_id"]) == {"a1", "a4", "p2"}


def test_only_the_held_out_part_of_a_recording_is_left_out():
    parts = table([(f"r{i}", "R", 0, "test" if i == 2 else "train") for i in range(4)])
    parts["offset"] = [0, 100, 150, 250]
    chosen = select_pretraining_clips({"a": parts})
    assert chosen["clip_id"].tolist() == ["r0", "r3"]  # r1 runs into r2


def test_the_same_clip_in_two_corpora_is_taken_once():
    chosen = select_pretraining_clips({"a": FIXED, "again": FIXED})
    assert chosen["clip_id"].tolist() == ["a1", "a4"]


def test_transductive_takes_the_audio_of_held_out_clips():
    assert len(training_clips(FIXED, 0, transductive=True)) == 4
    assert len(select_pretraining_clips({"a": FIXED}, transductive=True)) == 4


def test_a_fold_without_clips_is_an_error():
    with pytest.raises(ValueError, match=r"fold 0 leaves no clip.*unlabelled audio"):
        select_pretraining_clips({"a": FIXED[FIXED["split"] == "test"]})


POOL = table([("p1", "P1", 0, "unlabelled"), ("p2", "B1", 0, "unlabelled"),
              ("p3", "A3", 0, "unlabelled")]).assign(made_by=NO_TASK)  # fmt: skip


def test_pools_alone_are_one_fold_without_what_any_fold_of_any_task_holds_out():
    chosen = select_pretraining_clips({"a": FIXED, "b": FOLDED, "pool": POOL}, task_audio=False)
    assert chosen[["fold", "corpus", "clip_id"]].values.tolist() == [[0, "pool", "p1"]]
    seen = select_pretraining_clips({"a": FIXED, "pool": POOL}, task_audio=False, transductive=True)
    assert seen["clip_id"].tolist() == ["p1", "p2", "p3"]


@pytest.mark.parametrize(("n", "folds"), [(58, [1, 2]), (59, [0])])
def test_clips_without_a_label_are_enough_if_there_are_ten_times_as_many(n, folds):
    rows = [(f"q{i}", f"Q{i}", 0, "unlabelled") for i in range(n)]
    pool = table(rows).assign(made_by=NO_TASK)  # beside six clips of parts, and one of "a"
    chosen = select_pretraining_clips({"a": FIXED, "b": FOLDED, "pool": pool})
    assert sorted(set(chosen["fold"])) == folds
    heard = set(chosen["clip_id"]) - set(pool["clip_id"])
    assert heard == ({"a4"} if folds == [0] else {"a1", "a4", "b1", "b2", "b3"})


def test_held_out_audio_does_not_count_as_clips_without_a_label():
    rows = [(f"q{i}", f"B{1 + i % 2}", 0, "unlabelled") for i in range(99)]
    pool = table(rows).assign(made_by=NO_TASK)  # each fold holds out a half, both all of it
    chosen = select_pretraining_clips({"b": FOLDED[FOLDED["clip_id"] != "b3"], "pool": pool})
    assert sorted(set(chosen["fold"])) == [1, 2]


def test_with_held_out_audio_no_clips_are_enough():
    rows = [(f"q{i}", f"Q{i}", 0, "unlabelled") for i in range(99)]
    pool = table(rows).assign(made_by=NO_TASK)
    chosen = select_pretraining_clips({"b": FOLDED, "pool": pool}, transductive=True)
    assert set(chosen["clip_id"]) > {"b1", "b2", "b3"}


def test_nothing_is_an_error():
    with pytest.raises(ValueError, match="unlabelled audio"):
        select_pretraining_clips({})


def test_without_folds_the_training_clips_are_heard_too():
    rows = [(f"q{i}", f"Q{i}", 0, "unlabelled") for i in range(99)]
    pool = table(rows).assign(made_by=NO_TASK)
    assert "a1" in set(select_pretraining_clips({"a": FIXED, "pool": pool})["clip_id"])


def test_pools_alone_need_a_pool():
    with pytest.raises(ValueError, match=r"task_audio=False.*unlabelled"):
        select_pretraining_clips({"a": FIXED}, task_audio=False)
    with pytest.raises(ValueError, match="held out"):
        select_pretraining_clips({"b": FOLDED, "pool": POOL.iloc[1:2]}, task_audio=False)
