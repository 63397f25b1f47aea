"""Stored classifiers: whole or refused, and the same after a round trip."""

import json

import numpy as np
import pytest

from unfused import load_classifier
from unfused.encoders import load_encoder, save_encoder
from unfused.probes.head import Head
from unfused.probes.linear_probe import LinearProbe
from unfused.probes.stored_classifier import save_classifier


def test_a_round_trip(classifier, sounds, tmp_path):
    save_classifier(tmp_path, classifier.encoder, classifier.head)
    loaded = load_classifier(tmp_path)
    files = [sounds / "odd.wav", sounds / "short.wav"]
    assert loaded.predict(files, device="cpu") == classifier.predict(files, device="cpu")
    assert loaded.provenance == classifier.provenance
    assert not list(tmp_path.glob("*.tmp"))


def test_one_label(classifier, sounds):
    said = classifier.predict(sounds / "odd.wav", device="cpu")
    assert next(iter(said.probabilities)) == said.label
    assert said.probability == max(said.probabilities.values())
    assert set(said.probabilities) == {"bird", "rain", "wind"}
    np.testing.assert_allclose(sum(said.probabilities.values()), 1, atol=1e-5)
    values = list(said.probabilities.values())
    assert values == sorted(values, reverse=True)


def test_several_labels(several, sounds):
    embedding = several.encoder.embed(sounds / "odd.wav", device="cpu").clip[None]
    logits = several.head.logits(embedding)[0]
    said = several.predict(sounds / "odd.wav", device="cpu")
    likely = {name for name, value in said.probabilities.items() if value > 0.5}
    assert said.label == "|".join(sorted(likely))
    expected = 1 / (1 + np.exp(-logits.astype(float)))
    for name, value in zip(several.classes, expected, strict=True):
        np.testing.assert_allclose(said.probabilities[name], value, rtol=1e-4)


def test_a_head_has_the_logits_of_its_probe():
    rng = np.random.default_rng(0)
    labels = np.array(list("abc") * 10)
    x = rng.normal(size=(30, 5)) + 3 * np.eye(3, 5)[np.searchsorted(list("abc"), labels)]
    x = (7 * x).astype(np.float32)
    probe = LinearProbe().fit(x, labels, x, labels)
    head = Head.of_probe(probe, task="toy")
    np.testing.assert_allclose(head.logits(x), probe.decision_function(x), rtol=1e-4, atol=1e-4)
    assert (head.labels(x) == probe.predict(x)).all()
    assert head.provenance["regularisation"] == probe.strength_


def damaged(folder, make_classifier):
    """Return ways to damage a stored classifier -> what the refusal says."""
    weights = folder / "head.safetensors"

    def another_encoder():
        other = load_encoder(folder)
        next(other.encoder.parameters()).data += 1
        save_encoder(folder, other)

    def another_format():
        settings = json.loads((folder / "head.json").read_text())
        (folder / "head.json").write_text(json.dumps({**settings, "format": 99}))

    return {
        "interrupted": (lambda: weights.write_bytes(weights.read_bytes()[:-4]), "interrupted"),
        "encoder": (another_encoder, "another encoder"),
        "format": (another_format, "format 99"),
        "no JSON": (lambda: (folder / "head.json").write_text("{"), "is damaged"),
        "no head": (lambda: (folder / "head.json").unlink(), "no classifier"),
    }


@pytest.mark.parametrize("how", ["interrupted", "encoder", "format", "no JSON", "no head"])
def test_a_damaged_one_is_refused(classifier, make_classifier, tmp_path, how):
    save_classifier(tmp_path, classifier.encoder, classifier.head)
    damage, words = damaged(tmp_path, make_classifier)[how]
    damage()
    with pytest.raises((ValueError, FileNotFoundError), match=words):
        load_classifier(tmp_path)


def test_a_head_of_another_size_is_refused(classifier, tmp_path):
    short = classifier.encoder.encoder.truncated("block1")
    other = load_like(classifier.encoder, short)
    with pytest.raises(ValueError, match="dimensions"):
        save_classifier(tmp_path, other, classifier.head)
    with pytest.raises(ValueError, match="embed with the encoder"):
        classifier.head.logits(np.zeros((2, 3), np.float32))


def load_like(trained, network):
    from dataclasses import replace

    return replace(trained, encoder=network)
