from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import nn

from unfused.encoders import (
    AudioNTT,
    Projector,
    TrainedEncoder,
    load_encoder,
    provenance,
    read_trained_on,
    save_encoder,
)
from unfused.encoders.trained import git_commit

FRONT_END = {"sample_rate": 16000, "hop": 160, "n_mels": 16}


def trained(**more: object) -> TrainedEncoder:
    torch.manual_seed(1)
    encoder = AudioNTT(d=12, channels=4, n_mels=16)
    encoder.train()(torch.randn(4, 1, 16, 24))  # moves the running averages
    facts = provenance(method="decar", seed=3, fold=0, parameters={"lr": 0.1}, data="abc")
    return TrainedEncoder(encoder, "decar", dict(FRONT_END), -4.5, 3.25, facts, **more)


@pytest.mark.parametrize("cut", AudioNTT.taps)
@pytest.mark.parametrize("channels_last", [False, True])
def test_round_trip_is_exact(tmp_path: Path, cut: str, channels_last: bool) -> None:
    before = trained()
    before.encoder = before.encoder.truncated(cut)
    if channels_last:
        before.encoder.to(memory_format=torch.channels_last)
    save_encoder(tmp_path / "new" / "folder", before)
    after = load_encoder(tmp_path / "new" / "folder")
    assert not after.encoder.training
    assert after.encoder.cut == cut
    assert after.provenance == before.provenance
    assert (after.name, after.front_end, after.mean, after.std) == ("decar", FRONT_END, -4.5, 3.25)
    expected, state = before.encoder.state_dict(), after.encoder.state_dict()
    assert list(state) == list(expected)
    assert all(torch.equal(state[key], expected[key]) for key in expected)
    assert not list((tmp_path / "new" / "folder").glob("*.tmp"))


def test_clips_that_were_seen_are_kept(tmp_path: Path) -> None:
    clips = pd.DataFrame(
        {"corpus": ["a", "b"], "clip_id": ["1", "2"], "digest": ["x", "y"], "more": [0, 1]},
        index=[7, 9],
    )
    save_encoder(tmp_path, trained(), clips)
    seen = read_trained_on(tmp_path)
    assert seen is not None
    assert seen.to_dict("list") == clips.drop(columns="more").to_dict("list")
    save_encoder(tmp_path, trained())
    assert read_trained_on(tmp_path) is None
    with pytest.raises(ValueError, match=r"lacks \['digest'\]"):
        save_encoder(tmp_path, trained(), clips.drop(columns="digest"))


def test_normalise_makes_the_encoder_input() -> None:
    x = torch.randn(2, 30, 16)
    y = trained().normalise(x)
    assert y.shape == (2, 1, 16, 30)
    torch.testing.assert_close(y[1, 0, 5, 20], (x[1, 20, 5] + 4.5) / 3.25)


def test_front_end_may_be_a_dataclass_and_is_compared_by_field() -> None:
    @dataclass
    class FrontEnd:
        sample_rate: int = 16000
        hop: int = 160
        n_mels: int = 16

    encoder = trained()
    encoder.check_front_end(FrontEnd())
    with pytest.raises(ValueError, match=r"hop: 160 here, 320 there.*extract the log-mels again"):
        encoder.check_front_end(FrontEnd(hop=320))
    fields = TrainedEncoder(encoder.encoder, "x", FrontEnd(hop=80), 0.0, 1.0).front_end
    assert fields == {"sample_rate": 16000, "hop": 80, "n_mels": 16}


def test_a_constant_corpus_is_refused() -> None:
    with pytest.raises(ValueError, match=r"std=0.0 must be positive"):
        TrainedEncoder(AudioNTT(d=4, channels=2), "x", {}, 0.0, 0.0)


def test_diverged_weights_are_not_saved(tmp_path: Path) -> None:
    broken = trained()
    with torch.no_grad():
        next(broken.encoder.parameters())[0] = float("nan")
    with pytest.raises(ValueError, match=r"NaN or infinite weights.*lower the learning rate"):
        save_encoder(tmp_path, broken)
    assert not list(tmp_path.iterdir())


def test_an_encoder_outside_the_registry_is_not_saved(tmp_path: Path) -> None:
    class Other(AudioNTT):
        pass

    other = trained()
    other.encoder = Other(d=4, channels=2)
    with pytest.raises(ValueError, match="Other is not in the encoder registry"):
        save_encoder(tmp_path, other)


def test_missing_encoder_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"holds no trained encoder: encoder.json"):
        load_encoder(tmp_path)


@pytest.mark.parametrize("damage", ["weights", "json", "format", "missing tensor", "other shape"])
def test_damage_is_noticed(tmp_path: Path, damage: str) -> None:
    save_encoder(tmp_path, trained())
    weights, settings = tmp_path / "encoder.safetensors", tmp_path / "encoder.json"
    if damage == "weights":
        weights.write_bytes(weights.read_bytes()[:-8] + b"damaged!")
    elif damage == "json":
        settings.write_text(settings.read_text()[:-20])
    else:
        content = json.loads(settings.read_text())
        if damage == "format":
            content["format"] = 99
        elif damage == "missing tensor":
            content["architecture"]["settings"]["cut"] = "fc1"
        else:
            content["architecture"]["settings"]["d"] = 13
        settings.write_text(json.dumps(content))
    words = {
        "weights": "interrupted save or damaged copy",
        "json": "is damaged",
        "format": "is not of format",
        "missing tensor": "fc2.bias",
        "other shape": "size mismatch",
    }
    with pytest.raises(ValueError, match=words[damage]):
        load_encoder(tmp_path)


def test_provenance_knows_versions_and_commit(tmp_path: Path) -> None:
    facts = provenance(method="decar", seed=1, parameters={}, transductive=True)
    assert facts["versions"]["torch"] == torch.__version__ or facts["versions"]["torch"]
    assert facts["transductive"] is True
    assert json.loads(json.dumps(facts)) == facts
    assert git_commit(tmp_path) is None


def test_projector_layers_and_errors() -> None:
    layers = [type(layer) for layer in Projector(inputs=4, hidden=3, outputs=2, hidden_layers=2)]
    hidden = [nn.Linear, nn.BatchNorm1d, nn.ReLU]
    assert layers == [*hidden, *hidden, nn.Linear]
    with pytest.raises(ValueError, match="at least 1"):
        Projector(inputs=4, hidden=0)


def test_clip_normalisation_is_kept_and_done_to_what_is_real(tmp_path: Path) -> None:
    save_encoder(tmp_path, trained(clip_normalisation=True))
    encoder = load_encoder(tmp_path)
    assert encoder.clip_normalisation
    assert not trained().clip_normalisation
    x, colour = torch.randn(2, 30, 16), torch.randn(2, 1, 16) * 5
    spans = torch.tensor([[0.0, 30.0], [4.0, 9.0]])
    y = encoder.normalise(x, spans)
    torch.testing.assert_close(encoder.normalise(x + colour, spans), y)
    assert y[0].mean(dim=2).abs().max() < 1e-6
    assert y[1, :, :, 4:9].mean(dim=2).abs().max() < 1e-6
    torch.testing.assert_close(encoder.normalise(x[:1]), y[:1])
    plain = trained().normalise(x, spans)
    torch.testing.assert_close(y, plain - (plain - y)[..., :1])  # one shift a band
