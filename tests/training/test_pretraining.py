"""Self-supervised methods as estimators: parameters, reuse, resume, what is learnt."""

import logging
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone

import unfused
from unfused import methods
from unfused.core import source
from unfused.core.outputs import OutputFolder
from unfused.data.log_mel import FrontEnd
from unfused.data.store import LogMelStore
from unfused.encoders import load_encoder
from unfused.encoders.trained import read_trained_on
from unfused.methods.method import Method
from unfused.tasks.corpus import Corpus
from unfused.training.estimator import flat
from unfused.training.pretraining import estimator
from unfused.training.settings import TrainingSettings

N_CLIPS = 24
SMALL = {
    **{"encoder_settings": {"d": 16, "n_mels": 16, "channels": 8}, "epochs": 2, "batch_size": 8},
    **{"precision": "fp32", "log_every": 1, "device": "cpu", "checkpoint_seconds": 0.0},
}
DECAR = {"projector_hidden": 16, "projector_dim": 8, "n_prototypes": 3, **SMALL}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    rng = np.random.default_rng(0)
    clips = {
        f"{i:02d}": rng.normal(-6 + i % 5, 2, (60 + 9 * i, 16)).astype("f4") for i in range(N_CLIPS)
    }
    store = LogMelStore.write(tmp_path_factory.mktemp("store"), FrontEnd(n_mels=16), clips)
    return Corpus.of(store, pd.DataFrame({"corpus": "toy", "clip_id": list(clips), "digest": ""}))


def outcome(caplog, model, *data):
    caplog.clear()
    with caplog.at_level(logging.INFO):
        model.fit(*data)
    trained = any(record.message.startswith(("training", "resuming")) for record in caplog.records)
    reused = any(record.message.startswith("reused") for record in caplog.records)
    assert trained != reused
    return "trained" if trained else "reused"


def same(one, two):
    states = one.encoder_.encoder.state_dict(), two.encoder_.encoder.state_dict()
    return all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_every_method_has_an_estimator_in_the_package():
    classes = methods.METHODS.classes()
    assert {kind.__name__ for kind in classes.values()} == set(unfused._METHODS)
    for name, kind in classes.items():
        assert getattr(unfused, kind.__name__) is estimator(name)
        for parameter in (*methods.settings_of(name), "learning_rate", "optimiser_momentum"):
            assert f"\n    {parameter}: " in estimator(name).__doc__


def test_naming_an_estimator_costs_no_import_of_torch():
    code = (
        "import sys, unfused\n"
        "dir(unfused), unfused.__all__, hasattr(unfused, 'nothing')\n"
        "assert 'torch' not in sys.modules\n"
        "assert unfused.DECAR(seed=3).seed == 3\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_parameters_are_those_of_method_and_training():
    model = unfused.SLICER(temperature=0.2, momentum=0.9, optimiser_momentum=0.8)
    assert repr(model) == "SLICER(momentum=0.9, optimiser_momentum=0.8, temperature=0.2)"
    parameters = model.get_params()
    assert parameters["momentum"] == 0.9
    assert model.training.momentum == 0.8
    assert parameters["batch_size"] == TrainingSettings(epochs=1).batch_size
    assert model.set_params(temperature=0.3).temperature == 0.3
    assert clone(model).get_params() == pickle.loads(pickle.dumps(model)).get_params()
    training = TrainingSettings(epochs=3, momentum=0.5, learning_rate=0.1)
    assert unfused.DECAR(**flat(training)).training == training


def test_without_a_length_there_is_a_usual_one():
    assert unfused.DECAR().training.clip_updates == 100_000
    assert unfused.DECAR(epochs=3).training.clip_updates is None
    with pytest.raises(ValueError, match="exactly one"):
        unfused.DECAR(epochs=3, clip_updates=10).training  # noqa: B018


@pytest.mark.parametrize("change", [{"temprature": 1.0}, {"n_clips": 3}, {"batchsize": 3}])
def test_unknown_parameters_are_refused(change):
    with pytest.raises(ValueError, match="no setting of DECAR"):
        unfused.DECAR(**change)
    with pytest.raises(ValueError, match="no setting of DECAR"):
        unfused.DECAR().set_params(**change)
    with pytest.raises(ValueError, match="did you mean 'temperature'"):
        unfused.DECAR(temprature=1.0)
    with pytest.raises(AttributeError):
        unfused.DECARR  # noqa: B018


def test_bad_values_are_refused_by_fit(corpus):
    for change in ({"batch_size": 1}, {"temperature": -1.0}, {"encoder": "audio_nt"}):
        with pytest.raises(ValueError, match=next(iter(change)).replace("encoder", "audio_nt")):
            unfused.DECAR(**{**DECAR, **change}).fit(corpus)
    with pytest.raises(ValueError, match="'chanels' is no setting of audio_ntt"):
        unfused.DECAR(**DECAR).set_params(encoder_settings={"chanels": 3}).fit(corpus)


def test_a_fitted_estimator_has_encoder_history_and_clips(corpus, tmp_path):
    model = unfused.DECAR(**DECAR).fit(corpus)
    assert model.encoder_.provenance["method"] == "decar"
    assert (model.encoder_.mean, model.encoder_.std) == corpus.statistics
    assert model.history_["step"].tolist() == list(range(1, 7))
    assert model.folder_ is None
    model.save(tmp_path)
    saved = load_encoder(tmp_path)
    batch = torch.randn(2, 1, 16, 96)
    assert torch.equal(saved.encoder(batch), model.encoder_.encoder(batch))
    assert read_trained_on(tmp_path)["clip_id"].tolist() == corpus.clips["clip_id"].tolist()
    with pytest.raises(ValueError, match="not fitted"):
        unfused.DECAR().save(tmp_path)


def test_what_is_there_is_reused_and_another_setting_trains_again(corpus, tmp_path, caplog):
    model = unfused.DECAR(**DECAR, folder=tmp_path)
    assert outcome(caplog, model, corpus) == "trained"
    first = clone(model)
    assert outcome(caplog, first, corpus) == "reused"
    assert same(model, first)
    assert outcome(caplog, clone(model).set_params(log_every=3, device="auto"), corpus) == "reused"
    for change in ({"temperature": 0.3}, {"seed": 1}, {"learning_rate": 1e-4}, {"views": {}}):
        expected = "reused" if change == {"views": {}} else "trained"
        assert outcome(caplog, clone(model).set_params(**change), corpus) == expected, change
    fewer = corpus.take(corpus.clips["clip_id"][:20])
    assert outcome(caplog, clone(model), fewer) == "trained"
    again = clone(model).set_params(folder=OutputFolder(tmp_path, fresh=True))
    assert outcome(caplog, model, corpus) == "reused"
    assert again.folder.path == tmp_path


def test_an_interrupted_fit_goes_on(corpus, tmp_path, monkeypatch, caplog):
    whole = unfused.DECAR(**DECAR).fit(corpus)
    after = Method.after_step

    def stop(self, step):
        if step == 3:
            raise RuntimeError("power cut")
        after(self, step)

    model = unfused.DECAR(**DECAR, folder=tmp_path)
    monkeypatch.setattr(Method, "after_step", stop)
    with pytest.raises(RuntimeError, match="power cut"):
        model.fit(corpus)
    monkeypatch.undo()
    assert len(list(tmp_path.glob("*/checkpoint.pt"))) == 1
    with caplog.at_level(logging.INFO):
        model.fit(corpus)
    assert "resuming at step 3" in caplog.text
    assert same(model, whole)
    assert not list(tmp_path.glob("*/checkpoint.pt"))


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A copy of the package's source, which is what counts for the digest."""
    copy = tmp_path / "unfused"
    shutil.copytree(source.PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(source, "PACKAGE", copy)

    def edit(name, old, new):
        text = (copy / name).read_text()
        assert old in text
        (copy / name).write_text(text.replace(old, new, 1))
        source._read.cache_clear()

    source._read.cache_clear()
    yield edit
    source._read.cache_clear()


@pytest.mark.parametrize(
    ("file", "old", "new", "expected"),
    [
        ("losses/decar.py", ".T / temperature", ".T / (1 * temperature)", "trained"),
        ("encoders/audio_ntt.py", "kernel_size=3", "kernel_size=(3, 3)", "trained"),
        ("training/optimisers.py", "0.999", "0.99", "trained"),
        ("losses/decar.py", '"""', '"""Words. ', "reused"),
        ("losses/byol.py", "def byol_loss", "x = 1\n\n\ndef byol_loss", "reused"),
        ("encoders/conformer.py", "class Conformer(", "x = 1\n\n\nclass Conformer(", "reused"),
        ("reporting/names.py", "import", "import os\nimport", "reused"),
    ],
)
def test_editing_code_that_decides_trains_again(
    corpus, tmp_path, caplog, package, file, old, new, expected
):
    model = unfused.DECAR(**DECAR, folder=tmp_path / "models")
    assert outcome(caplog, model, corpus) == "trained"
    package(file, old, new)
    assert outcome(caplog, clone(model), corpus) == expected


def test_slicer_fits_centroids_of_its_own_unless_some_are_given(corpus, tmp_path, caplog):
    own = {"n_clusters": 4, "cluster_hidden": 8, "projector_hidden": 8, "projector_dim": 4}
    views = {"mixing": "k_mix", "mixup_bank": 16, "k_mix_furthest": 4}
    model = unfused.SLICER(**own, **SMALL, views=views, folder=tmp_path)
    assert outcome(caplog, model, corpus) == "trained"
    given = np.zeros((3, 16), np.float32)
    other = clone(model)
    assert outcome(caplog, other, corpus, given) == "trained"
    assert outcome(caplog, clone(model), corpus) == "reused"
    assert not same(model, other)
    plain = clone(model).set_params(views={})
    assert outcome(caplog, plain, corpus) == "trained"
    assert outcome(caplog, clone(plain), corpus, given) == "reused"  # nothing depends on them
    assert unfused.SLICER.method.usual_views == {"mixing": "k_mix"}


NEW = """
from unfused.encoders.encoder import Encoder
from unfused.methods.method import Method


class Nearly(Method):
    '''A method in a new file.'''

    name = "nearly"

    def __init__(self, encoder: Encoder, *, weight: float = 1.0) -> None:
        super().__init__()
        self.encoder, self.weight = encoder, weight

    def forward(self, views, clip_ids):
        loss = self.weight * self.encoder(*views[0]).square().mean()
        return loss, {"loss": loss.detach()}
"""


def test_a_new_file_has_an_estimator(corpus, tmp_path, monkeypatch, caplog):
    package = tmp_path / "more"
    package.mkdir()
    (package / "nearly.py").write_text(NEW)
    monkeypatch.setattr(methods, "__path__", [*methods.__path__, str(package)])
    try:
        model = unfused.Nearly(weight=0.5, **SMALL, folder=tmp_path / "models")
        assert outcome(caplog, model, corpus) == "trained"
        assert outcome(caplog, clone(model), corpus) == "reused"
        (package / "nearly.py").write_text(NEW.replace("square()", "abs()"))
        source._read.cache_clear()
        assert outcome(caplog, clone(model), corpus) == "trained"
    finally:
        sys.modules.pop("unfused.methods.nearly", None)
        vars(methods).pop("nearly", None)


def test_a_folder_may_be_written_in_words(corpus, tmp_path):
    model = unfused.COLA(**SMALL, projector_dim=8, folder=str(tmp_path)).fit(corpus)
    assert model.folder_.parent == Path(tmp_path)
    assert model.folder_.name.startswith("cola-seed0-")
