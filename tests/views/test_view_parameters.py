"""The typed parameters of the views and the views themselves say the same."""

import inspect

import pytest
from pydantic import ValidationError

from unfused.params import KMixParams, MethodViews, Views
from unfused.views import ViewMaker

GIVEN_BY_THE_DATA = {"self", "mean", "std", "n_mels", "crop_frames", "k_mix_centroids"}


def defaults():
    parameters = inspect.signature(ViewMaker.__init__).parameters.values()
    return {p.name: p.default for p in parameters if p.name not in GIVEN_BY_THE_DATA}


def test_parameters_and_views_have_the_same_names_and_defaults():
    assert {name: getattr(MethodViews(), name) for name in MethodViews.model_fields} == defaults()
    assert Views().model_dump().items() <= defaults().items()


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
