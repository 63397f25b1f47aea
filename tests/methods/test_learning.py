"""Does a method learn what its views leave alone? (The Conformer has a toy of its own.)"""

import pytest

from .toy_corpus import NO_VIEWS, check_learns

SMALL = {"projector_hidden": 128, "projector_dim": 64}


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("decar", {"n_prototypes": 32, "projector_hidden": 64, "projector_dim": 32}),
        ("byol_a", SMALL),
        ("selfie", SMALL),
    ],
)
def test_a_method_finds_the_classes_under_the_nuisance(name, settings):
    check_learns(name, settings)


def test_two_crops_are_enough_for_cola():
    check_learns("cola", {}, views=NO_VIEWS)
