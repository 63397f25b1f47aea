"""The typed parameters of the views and the views themselves say the same."""

from dataclasses import asdict

import pytest
from pydantic import ValidationError

from unfused.core.errors import UserError
from unfused.params import KMixParams, MethodViews, Views
from unfused.views.settings import MethodViewSettings, ViewSettings


def test_parameters_are_the_settings_of_the_views():
    assert MethodViews().model_dump() == asdict(MethodViewSettings())
    assert Views().model_dump() == asdict(ViewSettings())


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("mixup_ratio", 1.5, r"in \[0, 1\]"),
        ("mixup_bank", 0, "at least 1"),
        ("freq_scale", (0.0, 1.0), "low <= high"),
        ("time_scale", (1.5, 0.6), "low <= high"),
        ("virtual_crop", (1.0, 0.9), "holds the whole crop"),
        ("freq_masks", -1, "at least 0"),
        ("time_masks", -1, "at least 0"),
        ("freq_mask_width", 0, "at least 1"),
        ("time_mask_width", 0, "at least 1"),
        ("linear_gain", -0.1, "at least 0"),
        ("linear_gain", float("nan"), "at least 0"),
    ],
)
def test_errors_name_value_and_rule(name, value, rule):
    with pytest.raises(UserError, match=rule) as error:
        MethodViewSettings(**{name: value})
    assert f"{name}=" in str(error.value)
    with pytest.raises(ValidationError):
        MethodViews(**{name: value})


def test_the_whole_bank_to_draw_from_is_refused():
    with pytest.raises(
        ValidationError, match=r"k_mix_furthest=128 must be less than mixup_bank=64"
    ):
        MethodViews(mixing="k_mix", mixup_bank=64)
    MethodViews(mixup_bank=64)  # without k-mix it does not matter


def test_tasks_have_no_centroids_of_their_own():
    with pytest.raises(ValidationError, match="mixing"):
        Views(mixing="k_mix")
    assert KMixParams(views={"mixup_ratio": 0.2}).views.mixing == "k_mix"
