"""The face in Python: what the README shows, from a folder of sounds to a saved classifier."""

import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

ROOT = Path(__file__).resolve().parents[1]
SMALL = {"clip_updates": 32, "batch_size": 16, "encoder_settings": {"d": 32, "channels": 8}}


@pytest.fixture(scope="module")
def my_sounds(tmp_path_factory):
    """Three kinds of tones and some without a label."""
    folder = tmp_path_factory.mktemp("sounds") / "my_sounds"
    rng = np.random.default_rng(0)
    for number, name in enumerate(("low", "middle", "high", "unlabelled")):
        (folder / name).mkdir(parents=True)
        for clip in range(16):
            pitch = 200 * 3 ** (number % 3) * rng.uniform(0.9, 1.1)
            tone = np.sin(2 * np.pi * pitch * np.arange(16000) / 16000)
            samples = 0.3 * tone + 0.01 * rng.normal(size=16000)
            soundfile.write(folder / name / f"{clip}.wav", samples, 16000)
    return folder


def snippet(page):
    """Return the first Python snippet of a page that has a corpus in it."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.S)
    return next(block for block in blocks if "Corpus(" in block)


@pytest.mark.parametrize("page", ["README.md", "docs/howto/train_from_python.md"])
def test_the_snippet_runs_and_its_classifier_works(page, my_sounds, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_sounds").symlink_to(my_sounds)
    (tmp_path / "new_recordings").symlink_to(my_sounds / "unlabelled")
    code = snippet(page)
    assert "DECAR(clip_updates=20_000)" in code
    small = ", ".join(f"{key}={value!r}" for key, value in SMALL.items())
    code = code.replace("DECAR(clip_updates=20_000)", f"DECAR({small})")
    code = code.replace("n_clusters=10", f"n_clusters=3, {small}")
    names: dict = {}
    exec(compile(code, page, "exec"), names)
    assert names["model"].score(names["test"]) > 0.6  # tones three octaves apart
    predictions = names["model"].predict("new_recordings")
    assert len(predictions) == 16
    assert {found.label for found in predictions} <= {"low", "middle", "high", "unknown"}
    from unfused import load_classifier

    again = load_classifier("model").predict("new_recordings")
    assert [found.label for found in again] == [found.label for found in predictions]


def test_conventions_of_scikit_learn(my_sounds):
    from sklearn.base import clone

    from unfused import DECAR, Classifier, UnFuSeD

    for estimator in (
        DECAR(clip_updates=5),
        UnFuSeD("mfcc_statistics"),
        Classifier("mfcc_statistics"),
    ):
        again = clone(estimator)
        assert again.get_params() == estimator.get_params()
        assert repr(again) == repr(estimator)
        assert not [name for name in vars(estimator) if name.endswith("_") and name[0] != "_"]
