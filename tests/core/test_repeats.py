"""Arms: which folds go together."""

import pytest

from unfused.core.repeats import Arm, arm_of, arms, matching_fold


def test_arms_are_seeds_times_folds():
    assert arms([1, 0], [2, 1, 2]) == [Arm(1, 1), Arm(1, 2), Arm(0, 1), Arm(0, 2)]


@pytest.mark.parametrize(
    ("fold", "available", "expected"),
    [
        (3, [1, 2, 3], 3),
        (0, [1, 2], 1),
        (2, [0], 0),
        (0, [0], 0),
        (4, [1, 2, 3], 1),
        (5, [1, 2], 1),
        (0, [0, 1, 2], 0),
        (3, [0, 1, 2], 0),
        (5, [0, 1, 2], 2),
    ],
)
def test_matching_fold(fold, available, expected):
    assert matching_fold(fold, available) == expected


def test_arm_of_reads_the_name_back():
    assert arm_of(f"teacher-{Arm(12, 3).name}") == Arm(12, 3)
