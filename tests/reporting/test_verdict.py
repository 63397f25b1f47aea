from __future__ import annotations

import pandas as pd
import pytest

from unfused.reporting.aggregate import summarise
from unfused.reporting.comparisons import student_comparisons
from unfused.reporting.verdict import verdict

STUDENT = ("unfused", "teacher", "block3")


@pytest.fixture
def judged(experiment):
    def judge(tried=None, **settings):
        results, predictions = experiment(**settings)
        summary = summarise(results, predictions, n_draws=200)
        comparisons = student_comparisons(results, predictions, n_draws=200)
        return verdict(summary, comparisons, configurations_tried=tried)

    return judge


@pytest.mark.parametrize(
    ("share", "words"),
    [
        (0.80, "is better than random init"),
        (0.40, "is not distinguishable from random init"),
        (0.10, "is worse than random init"),
    ],
)
def test_the_headline_has_all_three_outcomes(judged, share, words):
    found = judged(right={STUDENT: share})
    assert words in found.headline
    ending = words.split("is ")[1].split(" random")[0].removesuffix(" than").removesuffix(" from")
    assert found.sentences[0].endswith(f": {ending}.")
    assert "(linear probe, accuracy, 1 seed, 300 test clips)" in found.headline


def test_the_sentence_has_both_scores_the_difference_and_its_interval(judged):
    first = judged(right={STUDENT: 0.8}).sentences[0]
    assert first.startswith("UnFuSeD student (block3) ")
    assert " vs Random init (block3) " in first
    assert "paired bootstrap over 12 groups of clips" in first
    assert first.count("[") == 2
    assert " points (95 % interval +" in first


def test_the_teacher_at_full_size_comes_with_the_size_ratio(judged):
    found = judged()
    assert any("DECAR-v2 teacher (block3)" in sentence for sentence in found.sentences)
    whole = next(sentence for sentence in found.sentences if "teacher (fc2)" in sentence)
    assert "which has 8.02 times its parameters" in whole
    assert "its teacher at full size, which has 8.02 times" in found.headline


def test_a_control_that_does_as_well_is_pointed_out(judged):
    as_good = {("unfused", "shuffled", "block3"): 0.62, ("log_mel_statistics", "", ""): 0.7}
    sentences = " ".join(judged(right=as_good).sentences)
    assert "not shown to come from what the teacher learnt" in sentences
    assert "on shuffled pseudo-labels" in sentences
    assert "No gain over the mean and deviation of each mel band" in sentences
    bound = judged(right={("unfused", "true_labels", "block3"): 0.99}).sentences
    assert not any("students on the true labels" in sentence for sentence in bound)
    clear = judged(right={STUDENT: 0.95})
    assert "not shown" not in " ".join(clear.sentences)


def test_one_seed_few_groups_and_trials_are_said(judged):
    caveats = " ".join(judged(tried=3, n_groups=3).caveats)
    assert "With one seed the intervals cover the choice of test clips only" in caveats
    assert "only 3 groups" in caveats
    assert "Configurations tried, this one included: 3." in caveats
    assert "test clips: one clip" not in caveats
    few = " ".join(judged(n_test=20).caveats)
    assert "only 20 test clips: one clip more right or wrong moves them by 5.0 points" in few
    three = judged(seeds=(0, 1, 2))
    assert "cover the choice of test clips only" not in " ".join(three.caveats)
    assert "t over 3 seeds; over test clips" in three.sentences[0]


def test_several_tasks_are_counted_not_picked(experiment):
    hard = experiment(("hard",), right={STUDENT: 0.1})
    easy = experiment(("easy task",), right={STUDENT: 0.9})
    results, predictions = (pd.concat(pair) for pair in zip(hard, easy, strict=True))
    comparisons = student_comparisons(results, predictions, n_draws=200)
    found = verdict(summarise(results, predictions, n_draws=200), comparisons)
    assert "Over 2 tasks" in found.headline
    assert "better than random init at the same cut on 1 of 2" in found.headline
    assert "worse than random init at the same cut on 1 of 2" in found.headline
    assert list(found.sections) == ["hard, linear probe", "easy task, linear probe"]
    assert "hard, linear probe:\n  UnFuSeD student" in str(found)


def test_nothing_to_compare_gives_no_verdict(experiment):
    results, predictions = experiment()
    found = verdict(summarise(results, predictions, n_draws=50), pd.DataFrame())
    assert found.headline.startswith("No verdict")
    assert found.sentences == ()
