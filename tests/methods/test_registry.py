from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from unfused import methods
from unfused.encoders import AudioNTT
from unfused.methods.decar import DECAR
from unfused.methods.supervised import Supervised

NEW_METHOD = """
from __future__ import annotations

from unfused.methods.method import Method


class Echo(Method):
    name = "echo"

    def __init__(self, encoder, *, loudness: float = 0.5) -> None:
        super().__init__()
        self.encoder, self.loudness = encoder, loudness
"""


@pytest.fixture
def echo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "echo.py").write_text(NEW_METHOD)
    monkeypatch.setattr(methods, "__path__", [*methods.__path__, str(tmp_path)])
    yield
    sys.modules.pop("unfused.methods.echo", None)
    if hasattr(methods, "echo"):
        delattr(methods, "echo")


def test_self_supervised_methods_only() -> None:
    assert "decar" in methods.available()
    assert methods.available() == sorted(methods.available())
    assert not {"supervised", "self_distillation"} & set(methods.available())


def test_create_by_name(encoder: AudioNTT) -> None:
    method = methods.create("decar", encoder, n_clips=40, temperature=0.5)
    assert isinstance(method, DECAR)
    assert (method.n_views, method.crop_frames, method.temperature) == (2, 96, 0.5)
    assert method.encoder is encoder


def test_settings_are_the_hyper_parameters_only() -> None:
    settings = methods.settings_of("decar")
    assert "n_clips" not in settings
    assert "encoder" not in settings
    assert settings["n_prototypes"] == (int | None, None)
    assert settings["normalise_z"].default is True
    assert list(methods.settings_of(Supervised)) == [
        *("dropout", "label_smoothing", "mixup_alpha", "crop_frames")
    ]


def test_a_new_file_is_a_new_method(echo: None, encoder: AudioNTT) -> None:
    assert "echo" in methods.available()
    assert methods.settings_of("echo") == {"loudness": (float, 0.5)}
    method = methods.create("echo", encoder, n_clips=3, loudness=2.0)  # it needs no n_clips
    assert method.loudness == 2.0


def test_misspelt_names_are_answered_with_the_nearest(encoder: AudioNTT) -> None:
    with pytest.raises(ValueError, match=r"'dekar' is no self-supervised method.*mean 'decar'"):
        methods.create("dekar", encoder, n_clips=40)
    with pytest.raises(ValueError, match=r"'temprature' is no setting of decar.*'temperature'"):
        methods.create("decar", encoder, n_clips=40, temprature=0.5)
    with pytest.raises(ValueError, match=r"did you mean 'projector_dim'"):
        methods.check_settings("decar", {"projector_dims": 3})
    methods.check_settings("decar", {"projector_dim": 3})
