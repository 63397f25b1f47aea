"""Typed parameters reach the library."""

from unfused.params import Distillation, EncoderParams, FineTuning
from unfused.pipelines.evaluation.nodes import supervised_settings
from unfused.pipelines.unfused.nodes import student_recipe

TRAINING = {"learning_rate": 0.1, "clip_updates": 8}


def test_every_option_of_fine_tuning():
    options = {"crop_frames": 48, "dropout": 0.2, "label_smoothing": 0.1, "validate_every": 3}
    given = FineTuning(
        encoders=[], views={}, fine_tuning=TRAINING, from_scratch=TRAINING, **options
    )
    for settings in supervised_settings(given):
        assert {name: getattr(settings, name) for name in options} == options
        assert settings.training.clip_updates == 8
        assert settings.views["mixup_ratio"] == 0.4


def test_every_option_of_self_distillation():
    options = {"hidden": 7, "blocks": ["block1"], "crop_frames": 48}
    recipe = student_recipe(
        Distillation(training=TRAINING, **options), EncoderParams(name="audio_ntt")
    )
    assert {name: recipe.method_settings[name] for name in options} == options
    assert "cut" not in recipe.method_settings
