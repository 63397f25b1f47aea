"""Repeats: which folds go together."""

import pytest

from unfused.core.repeats import Repeat, matching_fold, repeat_named, repeats


def test_repeats_are_seeds_times_folds():
    assert repeats([1, 0], [2, 1, 2]) == [Repeat(1, 1), Repeat(1, 2), Repeat(0, 1), Repeat(0, 2)]


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


def test_repeat_of_reads_the_name_back():
    assert repeat_named(f"teacher-{Repeat(12, 3).name}") == Repeat(12, 3)
