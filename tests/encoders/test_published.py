"""Published checkpoints: every tensor accounted for, the original's embeddings."""

import itertools

import numpy as np
import pytest
import torch
import torchaudio
from torch import nn

from unfused.data.log_mel import FrontEnd
from unfused.data.store import LogMelStore
from unfused.embeddings.read_out import ReadOut, read_out
from unfused.encoders import load_encoder, save_encoder
from unfused.encoders.published import BYOL_A_STATISTICS, load_byol_a, load_lape


class Original(nn.Module):
    """The network of the checkpoints, written from its description, ReLU before pooling."""

    def __init__(self, d, lape=False):
        super().__init__()
        blocks = [
            [nn.Conv2d(inputs, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2)]
            for inputs in (1, 64, 64)
        ]
        if lape:
            for number, block in enumerate(blocks, start=1):
                setattr(self, f"features_{number}", nn.Sequential(*block))
        else:
            self.features = nn.Sequential(*itertools.chain(*blocks))
        self.fc = nn.Sequential(
            nn.Linear(512, d), nn.ReLU(), nn.Dropout(0.3), nn.Linear(d, d), nn.ReLU()
        )
        self.lape = lape

    def forward(self, x):
        blocks = (self.features_1, self.features_2, self.features_3) if self.lape else ()
        x = nn.Sequential(*blocks)(x) if blocks else self.features(x)
        frames = self.fc(x.permute(0, 3, 2, 1).flatten(2))  # (B, T, mel * channel)
        return frames.max(dim=1).values + frames.mean(dim=1)


def original(d, seed=0, lape=False):
    torch.manual_seed(seed)
    network = Original(d, lape)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            nn.init.uniform_(module.weight, 0.5, 1.5)
    return network.eval()


def waveform(seconds=2.0):
    return np.random.default_rng(0).normal(scale=0.1, size=int(seconds * 16000)).astype("f4")


@pytest.mark.parametrize("d", [512, 1024, 2048])
def test_byol_a_embeds_a_waveform_as_the_original(tmp_path, d):
    network, path = original(d), tmp_path / f"AudioNTT2020-BYOLA-64x96d{d}.pth"
    torch.save(network.state_dict(), path)
    trained = load_byol_a(path)
    wave = waveform()
    mel = torchaudio.transforms.MelSpectrogram(
        sample_rate=16000, n_fft=1024, win_length=1024, hop_length=160, n_mels=64, f_min=60,
        f_max=7800,
    )  # fmt: skip
    log_mel = (mel(torch.from_numpy(wave)) + torch.finfo(torch.float).eps).log()
    mean, std = BYOL_A_STATISTICS
    with torch.inference_mode():
        expected = network(((log_mel - mean) / std)[None, None])
        ours = FrontEnd(**trained.front_end).log_mel(wave)
        found = trained.encoder(trained.normalise(torch.from_numpy(ours)[None]))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert trained.encoder.dim == d


def test_the_htk_front_end_is_torchaudios():
    for norm, theirs in (("none", None), ("slaney", "slaney")):
        front_end = FrontEnd(mel_scale="htk", norm=norm)
        mel = torchaudio.transforms.MelSpectrogram(
            sample_rate=16000, n_fft=1024, hop_length=160, n_mels=64, f_min=60, f_max=7800,
            norm=theirs,
        )  # fmt: skip
        expected = (mel(torch.from_numpy(waveform())) + front_end.eps).log().T.numpy()
        np.testing.assert_allclose(front_end.log_mel(waveform()), expected, atol=1e-4)


def lightning(network, prefix, *heads):
    state = {f"{prefix}encoder.{key}": value for key, value in network.state_dict().items()}
    return {"state_dict": state | {name: torch.zeros(3) for name in heads}, "epoch": 9}


@pytest.mark.parametrize(
    ("prefix", "heads"),
    [
        ("encoder_q.", ["encoder_q.fc.weight", "encoder_k.encoder.fc.0.weight", "queue",
                        "queue_ptr", "p1.projector.0.weight"]),
        ("encoder.", ["p.projector.0.weight", "p.bn.running_mean"]),
    ],
)  # fmt: skip
def test_lape_checkpoints_give_the_students_encoder(tmp_path, caplog, prefix, heads):
    network, path = original(64, lape=True), tmp_path / "last.ckpt"
    torch.save(lightning(network, prefix, *heads), path)
    with caplog.at_level("INFO"):
        trained = load_lape(path, mean=-5.0, std=4.0)
    assert f"left out {len(heads)} tensors" in caplog.text
    x = torch.randn(3, 1, 64, 96)
    with torch.inference_mode():
        torch.testing.assert_close(trained.encoder(x), network(x), atol=1e-5, rtol=1e-5)
    trained.check_front_end(FrontEnd())


def test_every_tensor_has_to_be_accounted_for(tmp_path):
    path, state = tmp_path / "x.pth", original(64).state_dict()
    torch.save({key: value for key, value in state.items() if key != "features.4.bias"}, path)
    with pytest.raises(ValueError, match=r"Missing key.*blocks.block2.0.bias"):
        load_byol_a(path)
    torch.save(state | {"fc.5.weight": torch.zeros(2)}, path)
    with pytest.raises(ValueError, match=r"does not have: \['fc.5.weight'\]"):
        load_byol_a(path)
    torch.save(state | {"features.0.weight": torch.zeros(64, 1, 5, 5)}, path)
    with pytest.raises(ValueError, match=r"(?s)blocks.block1.0.weight.*\[64, 1, 5, 5\]"):
        load_byol_a(path)
    torch.save(lightning(original(64, lape=True), "encoder_q.", "strange"), path)
    with pytest.raises(ValueError, match=r"no LAPE method has: \['strange'\]"):
        load_lape(path, mean=0.0, std=1.0)
    with pytest.raises(ValueError, match=r"lacks fc.0.weight"):
        load_byol_a(path)
    torch.save(state, path)
    with pytest.raises(ValueError, match="is it a LAPE checkpoint"):
        load_lape(path, mean=0.0, std=1.0)


def test_code_inside_a_checkpoint_is_not_run(tmp_path):
    path = tmp_path / "last.ckpt"
    torch.save({"state_dict": {}, "hyper_parameters": {"base_encoder": Original}}, path)
    with pytest.raises(ValueError, match="weights_only=False"):
        load_lape(path, mean=0.0, std=1.0)
    torch.save([1, 2], path)
    with pytest.raises(ValueError, match="no table of tensors"):
        load_byol_a(path)


def test_log_mels_of_another_front_end_are_refused(tmp_path):
    torch.save(original(64).state_dict(), tmp_path / "x.pth")
    trained = load_byol_a(tmp_path / "x.pth")
    clips = {"a": np.zeros((100, 64), "f4")}
    ours = LogMelStore.write(tmp_path / "ours", FrontEnd(), clips)
    with pytest.raises(ValueError, match="mel_scale: htk here, slaney there"):
        read_out(trained, ours, np.array([0]), [ReadOut()])
    theirs = LogMelStore.write(tmp_path / "theirs", FrontEnd(**trained.front_end), clips)
    (found,) = read_out(trained, theirs, np.array([0]), [ReadOut(("fc2",), ("max+mean",))])
    assert found.shape == (1, 64)


def test_a_published_encoder_is_saved_like_any_other(tmp_path):
    torch.save(original(64).state_dict(), tmp_path / "x.pth")
    trained = load_byol_a(tmp_path / "x.pth", mean=-6.0, std=3.0)
    save_encoder(tmp_path / "encoder", trained)
    again = load_encoder(tmp_path / "encoder")
    assert again.front_end == dict(trained.front_end)
    assert (again.mean, again.std) == (-6.0, 3.0)
    assert again.provenance["method"] == "byol_a (published)"
    for key, value in trained.encoder.state_dict().items():
        assert torch.equal(value, again.encoder.state_dict()[key])
