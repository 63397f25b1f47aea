"""Typed parameters reach the library."""

import pytest
from pydantic import ValidationError

from unfused.distillation.unfused import UnFuSeD
from unfused.params import Distillation, EncoderParams, FineTuning, Run
from unfused.params.audio import Demo, FrontEndParams, Task
from unfused.pipelines.unfused.nodes import parameters_of

TRAINING = {"learning_rate": 0.1, "clip_updates": 8}


def test_every_option_of_fine_tuning():
    options = {"crop_frames": 48, "dropout": 0.2, "label_smoothing": 0.1, "validate_every": 3,
               "mixup_alpha": 0.5, "patience": 4}  # fmt: skip
    given = FineTuning(
        encoders=[], views={"time_masks": 2}, head="random",
        fine_tuning=TRAINING, from_scratch=TRAINING, **options,
    )  # fmt: skip
    tuned, scratch = given.settings()
    assert tuned.head == scratch.head == "random"
    for settings in (tuned, scratch):
        assert settings.views["time_masks"] == 2
        assert {name: getattr(settings, name) for name in options} == options
        assert settings.training.clip_updates == 8
        assert settings.views["mixup_ratio"] == 0.4


def test_every_option_of_self_distillation():
    options = {"hidden": 7, "blocks": ["block1"], "crop_frames": 48}
    encoder = EncoderParams(name="audio_ntt", settings={"d": 16})
    distillation = Distillation(training=TRAINING, views={"time_masks": 2}, **options)
    model = UnFuSeD("mfcc_statistics", **parameters_of(distillation, encoder))
    assert {name: getattr(model, name) for name in options} == options
    assert model.training == distillation.training
    assert model.views["time_masks"] == 2
    assert (model.encoder, model.encoder_settings) == ("audio_ntt", {"d": 16})


def test_a_number_of_seeds():
    assert Run(seeds=3).seeds == [0, 1, 2]
    assert Run(seeds=[4]).seeds == [4]
    with pytest.raises(ValueError, match="seeds"):
        Run(seeds=0)


@pytest.mark.parametrize(
    ("group", "given"),
    [
        *((FrontEndParams, {"sample_rate": 7999}), (FrontEndParams, {"n_fft": 63})),
        *((FrontEndParams, {"n_mels": 7}), (Demo, {"n_notes": 119}), (Demo, {"n_mixtures": 29})),
        *((Demo, {"seconds": 0.1}), (Distillation, {"crop_frames": 15, "training": {"epochs": 1}})),
    ],
    ids=str,
)
def test_parameters_may_be_narrower_than_the_library(group, given):
    with pytest.raises(ValidationError, match="greater than"):
        group(**given)


def test_only_what_is_rendered_has_the_sound_fonts_licence():
    assert "GPL-2" in str(Task(audio="demo_notes").licence)
    assert Task(audio="demographics/birds").licence is None
