"""Exported models: files that load, an ONNX file that agrees, a card that says what is there."""

import shutil

import numpy as np
import pandas as pd
import pytest
import torch

from unfused import FrontEnd, load_classifier, load_encoder
from unfused.encoders import Conformer
from unfused.inference import AudioEncoder, onnx_file
from unfused.inference.export import export_classifier, read_onnx_facts
from unfused.reporting.model_card import model_card

needs_onnx = pytest.mark.skipif(
    bool(onnx_file.missing_packages()), reason="the extra onnx is not installed"
)


@pytest.fixture(scope="module")
def onnx_of_blocks(encoder, tmp_path_factory):
    path = tmp_path_factory.mktemp("onnx") / "encoder.onnx"
    return path, onnx_file.export_onnx(encoder, path)


def agrees(trained, path, check, sounds):
    import onnxruntime

    assert check.relative < 1e-4
    assert len(check.shapes) >= 3
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for name in ("odd.wav", "window.flac"):
        clip = trained.store_of([sounds / name]).clip(0)
        (found,) = session.run(["embedding"], {"log_mel": clip[None]})
        expected = trained.embed(sounds / name, device="cpu").clip
        np.testing.assert_allclose(found[0], expected, rtol=1e-3, atol=1e-4)


@needs_onnx
def test_onnx_agrees_with_evaluation(encoder, onnx_of_blocks, sounds):
    agrees(encoder, *onnx_of_blocks, sounds)


@needs_onnx
def test_onnx_of_a_conformer(sounds, tmp_path):
    torch.manual_seed(0)
    network = Conformer(latent_dim=16, embed_dim=16, n_layers=1, n_heads=2, ffn_dim=32).eval()
    trained = AudioEncoder(network, "toy", FrontEnd(), -9.0, 3.5)
    check = onnx_file.export_onnx(trained, tmp_path / "encoder.onnx")
    agrees(trained, tmp_path / "encoder.onnx", check, sounds)


@needs_onnx
def test_a_file_that_computes_something_else_is_refused(
    encoder, onnx_of_blocks, tmp_path, monkeypatch
):
    other = load_like(encoder, mean=encoder.mean + 1)
    with pytest.raises(onnx_file.OnnxMismatchError, match="differs from PyTorch"):
        onnx_file.check_onnx(other, onnx_of_blocks[0])
    monkeypatch.setattr(onnx_file, "_program", lambda trained: None)
    monkeypatch.setattr(
        torch.onnx, "export", lambda program, _, path, **how: shutil.copy(onnx_of_blocks[0], path)
    )
    with pytest.raises(onnx_file.OnnxMismatchError):
        onnx_file.export_onnx(other, tmp_path / "encoder.onnx")
    assert not list(tmp_path.iterdir())


def load_like(trained, **changes):
    from dataclasses import replace

    return replace(trained, **changes)


def test_without_the_extra_the_rest_is_written(classifier, sounds, tmp_path, monkeypatch, caplog):
    (tmp_path / "encoder.onnx").write_text("of an earlier export")
    monkeypatch.setattr(onnx_file, "PACKAGES", ("no_such_package",))
    export_classifier(classifier, tmp_path)
    assert "no_such_package" in caplog.text
    assert "[onnx]" in caplog.text
    assert not (tmp_path / "encoder.onnx").exists()
    facts = read_onnx_facts(tmp_path)
    assert facts["file"] is None
    assert "no_such_package" in model_card(classifier, facts)
    sound = sounds / "odd.wav"
    said = load_classifier(tmp_path).predict(sound, device="cpu")
    assert said == classifier.predict(sound, device="cpu")
    clip = load_encoder(tmp_path).embed(sound, device="cpu").clip
    np.testing.assert_array_equal(clip, classifier.encoder.embed(sound, device="cpu").clip)
    with pytest.raises(ModuleNotFoundError, match="no_such_package"):
        onnx_file.export_onnx(classifier.encoder, tmp_path / "encoder.onnx")


def test_onnx_can_be_left_out(classifier, tmp_path):
    export_classifier(classifier, tmp_path, onnx=False)
    assert "export.onnx=false" in read_onnx_facts(tmp_path)["why"]


def row(encoder, mean, **more):
    known = {
        "task": "birds",
        "encoder": encoder,
        "name": encoder,
        "source": "",
        "read_out": "block3",
    }
    known |= {"protocol": "linear_probe", "metric": "accuracy", "mean": mean, "low": mean - 0.05}
    known |= {
        "high": mean + 0.05,
        "interval": "bootstrap",
        "fitted_on": "train",
        "n_seeds": 1,
        "n_folds": 1,
    }
    return {**known, "n_test": 40, "chance": 0.3, **more}


def test_the_card_has_this_models_scores_beside_the_baselines(make_classifier):
    made = {"task": "own", "encoder": "unfused", "source": "teacher", "cut": "block3"}
    classifier = make_classifier()
    classifier.provenance.update(made)
    study = {"tasks": [{"name": "own", "shown": "birds", "licence": "CC BY 4.0"}]}
    summary = pd.DataFrame(
        [
            row("unfused", 0.61, source="teacher"),
            row("unfused", 0.11, source="shuffled"),
            row("unfused", 0.12, source="teacher", protocol="fine_tuning"),
            row("unfused", 0.13, source="teacher", task="other"),
            row("random_init", 0.52),
            row("decar", 0.14),
        ]
    )
    card = model_card(classifier, {"file": None, "why": "x"}, study=study, summary=summary)
    assert "61.0 | 56.0 to 66.0" in card
    assert "52.0 | 47.0 to 57.0" in card
    for other in ("11.0", "12.0", "13.0", "14.0"):
        assert f"| {other} |" not in card
    assert "birds: CC BY 4.0" in card
    assert "`bird`, `rain`, `wind`" in card
    unknown = model_card(classifier, {"file": None, "why": "x"})
    assert "Not known here" in unknown
