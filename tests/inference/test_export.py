"""Exported classifiers: folders that load, ONNX files that agree, with nothing of this package."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch

from unfused import FrontEnd, load_classifier
from unfused.core.errors import NotFoundError, UserError
from unfused.embeddings.embedder import EncoderEmbedder, as_embedder
from unfused.embeddings.read_out import ReadOut
from unfused.encoders import Conformer, TrainedEncoder
from unfused.inference import Classifier, onnx_file
from unfused.inference.export import export_classifier, read_onnx_facts

needs_onnx = pytest.mark.skipif(
    bool(onnx_file.missing_packages()), reason="the extra onnx is not installed"
)


def conformer():
    torch.manual_seed(0)
    network = Conformer(latent_dim=16, embed_dim=16, n_layers=1, n_heads=2, ffn_dim=32).eval()
    return TrainedEncoder(network, "toy", FrontEnd(), -9.0, 3.5)


EMBEDDERS = {
    "segments and two taps, both ways, repeated": lambda encoder: EncoderEmbedder(
        encoder.trained,
        ReadOut(
            *(("block2", "fc2"), ("mean", "std", "max", "delta")),
            **{"segments": 3, "clip_normalisation": "both", "padding": "repeat"},
        ),
    ),
    "conformer": lambda encoder: EncoderEmbedder(conformer()),
    "silence, joined with statistics": lambda encoder: as_embedder(
        [
            EncoderEmbedder(
                encoder.trained,
                ReadOut(("fc2",), ("max+mean",), clip_normalisation=True, padding="silence"),
            ),
            *("mfcc_statistics", {"kind": "log_mel_statistics", "segments": 3}),
        ]
    ),
}
FIRST, *OTHERS = EMBEDDERS


@pytest.fixture(scope="module")
def exported_classifier(encoder, tones):
    return Classifier(EMBEDDERS[FIRST](encoder), device="cpu").fit(tones.split()[0])


@pytest.fixture(scope="module")
def exported(exported_classifier, tones, tmp_path_factory):
    """The folder of an export with everything; leave its files alone."""
    folder = tmp_path_factory.mktemp("exported")
    export_classifier(exported_classifier, folder, int8_on=tones.split()[1])
    return folder


@pytest.mark.parametrize("name", EMBEDDERS)
def test_the_graph_computes_what_the_classifier_does(name, encoder, tones):
    """In PyTorch, so without the extra: the float32 log-mel, read-out and probe as one module."""
    train, test = tones.split()
    model = Classifier(EMBEDDERS[name](encoder), device="cpu").fit(train)
    graph = onnx_file.OnnxClassifier(model).eval()
    expected = model.embedder_.embed(test, device="cpu")
    size = np.sqrt(np.square(expected).mean())
    for row, path in enumerate(test.clips["path"]):
        samples = torch.from_numpy(soundfile.read(path, dtype="float32")[0])[None]
        with torch.inference_mode():
            likely, vector = graph(samples)
        assert np.abs(vector.numpy()[0] - expected[row]).max() < onnx_file.TOLERANCE * size
        said = model.head_.probabilities(expected[row : row + 1])
        np.testing.assert_allclose(likely, said, atol=onnx_file.TOLERANCE)


@needs_onnx
@pytest.mark.parametrize("name", OTHERS)
def test_onnx_agrees(name, encoder, tones, tmp_path):
    model = Classifier(EMBEDDERS[name](encoder), device="cpu").fit(tones.split()[0])
    facts = onnx_file.export_onnx(model, tmp_path / "model.onnx")
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]
    check_agreement(facts)


def check_agreement(facts):
    assert facts["relative"] < onnx_file.TOLERANCE
    assert len({n for _, n in facts["shapes"]}) >= 5


@needs_onnx
def test_a_script_without_this_package_classifies(exported, exported_classifier, tones, tmp_path):
    classifier, (_, test) = exported_classifier, tones.split()
    paths = test.clips["path"].tolist()
    for name, seconds in (("short", 0.02), ("long", 3.65 * classifier.segment_seconds_)):
        noise = np.random.default_rng(0).normal(0, 0.1, int(16000 * seconds))
        soundfile.write(tmp_path / f"{name}.wav", noise, 16000)
    short, long = (str(tmp_path / f"{name}.wav") for name in ("short", "long"))
    code = "import sys; sys.modules['unfused'] = sys.modules['torch'] = None; " + (
        "import runpy; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(exported / "classify_onnx.py"), *paths, short, long],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    starts = [float(line.split()[-4]) for line in lines if line.startswith(long)]
    heard = classifier.classify([long]).predictions["start_seconds"]
    assert starts == pytest.approx(heard.tolist(), abs=0.02)
    assert len(starts) == 4
    lines = lines[: len(paths)]
    for line, said in zip(lines, classifier.predict(paths), strict=True):
        assert f": {said.label} " in line
        assert float(line.split()[-1]) == pytest.approx(said.probability, abs=0.01)
    facts = read_onnx_facts(exported)
    check_agreement(facts)
    assert facts["int8"]["bytes_int8"] < facts["int8"]["bytes"]
    assert facts["int8"]["score"] == pytest.approx(classifier.score(test))
    assert 0 <= facts["int8"]["score_int8"] <= 1
    assert load_classifier(exported).score(test) == classifier.score(test)
    config = json.loads((exported / "config.json").read_text())
    assert config["id2label"]["0"] == classifier.classes_[0]


@needs_onnx
def test_a_file_that_computes_something_else_is_refused(exported, exported_classifier, tones):
    embedder = exported_classifier.embedder_
    another = replace(embedder.read_out, statistics=("std", "max", "mean", "delta"))
    other = Classifier(EncoderEmbedder(embedder.trained, another), device="cpu")
    other.fit(tones.split()[0])
    with pytest.raises(onnx_file.OnnxMismatchError):
        onnx_file.check_onnx(other, exported / "model.onnx")


def test_random_crops_and_outside_models_have_no_file(encoder, tones):
    train, _ = tones.split()
    model = Classifier(encoder.trained, read_out=ReadOut(crop_frames=96), device="cpu").fit(train)
    with pytest.raises(UserError, match="crop"):
        onnx_file.OnnxClassifier(model)
    outside = as_embedder({"kind": "function", "function": "numpy:ptp"})
    with pytest.raises(UserError, match="ONNX"):
        onnx_file.embedder_modules(outside)


def test_without_the_extra_the_rest_is_written(classifier, tones, tmp_path, monkeypatch, caplog):
    (tmp_path / "model.onnx").write_text("of an earlier export")
    monkeypatch.setattr(onnx_file, "PACKAGES", ("no_such_package",))
    export_classifier(classifier, tmp_path)
    assert "no_such_package" in caplog.text
    assert not (tmp_path / "model.onnx").exists()
    facts = read_onnx_facts(tmp_path)
    assert facts["file"] is None
    assert "no_such_package" in facts["why"]
    path = tones.clips["path"][0]
    assert load_classifier(tmp_path).predict(path) == classifier.predict(path)
    with pytest.raises(NotFoundError, match="no_such_package"):
        onnx_file.export_onnx(classifier, tmp_path / "model.onnx")


def test_onnx_can_be_left_out(classifier, tmp_path):
    export_classifier(classifier, tmp_path, onnx=False)
    assert "not asked for" in read_onnx_facts(tmp_path)["why"]


def test_the_hub_saves_and_loads(classifier, tones, tmp_path, monkeypatch):
    pytest.importorskip("huggingface_hub")
    monkeypatch.setattr(onnx_file, "PACKAGES", ("no_such_package",))  # its file is tested above
    from unfused.inference.hub import HubClassifier

    HubClassifier(classifier).save_pretrained(tmp_path / "model")
    again = HubClassifier.from_pretrained(str(tmp_path / "model")).classifier
    path = tones.clips["path"][0]
    assert again.predict(path) == classifier.predict(path)
