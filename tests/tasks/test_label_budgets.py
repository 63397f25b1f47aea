"""Label budgets and the clips that get their labels."""

import numpy as np
import pytest

from unfused.tasks.label_budgets import LabelBudget, draw_labelled
from unfused.tasks.label_kinds import MULTI_LABEL

LABELS = np.array(["a"] * 40 + ["b"] * 10 + ["c"] * 3)


def counts(chosen):
    return dict(zip(*np.unique(LABELS[chosen], return_counts=True), strict=True))


def test_a_number_is_per_class_and_no_more_than_there_is():
    chosen = draw_labelled(LABELS, LabelBudget.parse(5), draw=0, seed=0)
    assert counts(chosen) == {"a": 5, "b": 5, "c": 3}
    assert (np.diff(chosen) > 0).all()


def test_a_share_leaves_every_class_at_least_one():
    assert counts(draw_labelled(LABELS, LabelBudget.parse("10%"), draw=0, seed=0)) == {
        "a": 4, "b": 1, "c": 1
    }  # fmt: skip
    assert len(draw_labelled(LABELS, LabelBudget.parse("100 %"), draw=0, seed=0)) == len(LABELS)


def test_smaller_budgets_are_part_of_larger_ones_and_draws_differ():
    small, large, other = (
        set(draw_labelled(LABELS, LabelBudget.parse(n), draw=draw, seed=0).tolist())
        for n, draw in ((3, 0), (8, 0), (3, 1))
    )
    assert small < large
    assert small != other


def test_several_labels_are_spread_by_the_rarest():
    sets = np.array(["a|b"] * 5 + ["a"] * 20, dtype=object)
    chosen = draw_labelled(sets, LabelBudget.parse(2), draw=0, seed=0, kind=MULTI_LABEL)
    assert sorted(sets[chosen]) == ["a", "a", "a|b", "a|b"]


@pytest.mark.parametrize("given", [0, -1, "0%", "120%", "some", "1.5", 2.5])
def test_other_budgets_are_refused(given):
    with pytest.raises(ValueError, match="such as 5, or a share"):
        LabelBudget.parse(given)
