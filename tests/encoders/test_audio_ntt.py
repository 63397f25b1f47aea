from __future__ import annotations

import pytest
import torch
from torch import nn

from unfused.encoders import AudioNTT, available, create, span_mask


def small(**settings: object) -> AudioNTT:
    torch.manual_seed(0)
    encoder = AudioNTT(**{"d": 24, "channels": 8, "n_mels": 16, **settings})
    for module in encoder.modules():  # batch norm that does something, as after training
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2.0)
    return encoder.eval()


@pytest.mark.parametrize(
    ("cut", "parameters", "dim"),
    [("block3", 74_880, 512), ("fc1", 1_125_504, 2048), ("fc2", 5_321_856, 2048)],
)
def test_parameter_counts_are_those_of_the_official_encoder(
    cut: str, parameters: int, dim: int
) -> None:
    encoder = AudioNTT(d=2048, cut=cut)
    assert encoder.n_parameters == parameters
    assert encoder.dim == dim


def test_dimensions_and_strides_of_all_taps() -> None:
    encoder = AudioNTT(d=2048)
    features = encoder.eval().frame_features(torch.randn(2, 1, 64, 96))
    assert {tap: tuple(frames.shape) for tap, frames in features.items()} == {
        "block1": (2, 48, 2048),
        "block2": (2, 24, 1024),
        "block3": (2, 12, 512),
        "fc1": (2, 12, 2048),
        "fc2": (2, 12, 2048),
    }
    assert {tap: frames.shape[2] for tap, frames in features.items()} == dict(encoder.dims)


def test_equals_the_published_layer_order() -> None:
    """Conv, batch norm, ReLU, pooling; frames of (mel, channel); linear layers; max + mean."""
    encoder = small()
    x = torch.randn(3, 1, 16, 40)
    expected = x
    for conv, norm, _, _ in encoder.blocks.values():
        expected = torch.nn.functional.max_pool2d(torch.relu(norm(conv(expected))), 2)
    batch, channels, mels, frames = expected.shape
    rows = expected.permute(0, 3, 2, 1).reshape(batch, frames, mels * channels)
    assert torch.equal(encoder.frame_features(x)["block3"], rows)
    rows = torch.relu(encoder.fc2(torch.relu(encoder.fc1(rows))))
    torch.testing.assert_close(encoder(x), rows.max(dim=1).values + rows.mean(dim=1))


def test_pooling_before_relu_has_the_same_gradient() -> None:
    block = small().blocks["block1"].train()
    conv, norm, pool, relu = block
    x = torch.randn(4, 1, 16, 12)
    gradients = []
    for layers in ([conv, norm, pool, relu], [conv, norm, relu, pool]):
        conv.zero_grad()
        nn.Sequential(*layers)(x).square().sum().backward()
        gradients.append(conv.weight.grad.clone())
    assert torch.equal(*gradients)


@pytest.mark.parametrize("cut", AudioNTT.taps)
def test_truncated_encoder_gives_the_same_features(cut: str) -> None:
    encoder = small()
    x, spans = torch.randn(3, 1, 16, 40), torch.tensor([[0.0, 40.0], [3.0, 20.0], [8.0, 9.0]])
    short = encoder.truncated(cut)
    assert torch.equal(short(x, spans), encoder.pooled(x, spans)[cut])
    assert list(short.dims) == list(AudioNTT.taps[: AudioNTT.taps.index(cut) + 1])
    assert set(short.state_dict()) <= set(encoder.state_dict())
    first = next(short.parameters())
    assert first.data_ptr() != next(encoder.parameters()).data_ptr()


def test_truncation_costs_no_random_numbers() -> None:
    encoder = small()
    state = torch.random.get_rng_state()
    encoder.truncated("block3")
    assert torch.equal(state, torch.random.get_rng_state())


def test_nothing_is_computed_beyond_the_cut() -> None:
    encoder = small(cut="block2")
    assert list(encoder.frame_features(torch.randn(1, 1, 16, 8))) == ["block1", "block2"]
    assert encoder.fc1 is None
    assert encoder.fc2 is None


def test_dropout_acts_only_between_the_linear_layers() -> None:
    encoder = small(dropout=0.5)
    encoder.dropout.train()
    x = torch.randn(2, 1, 16, 24)
    first, second = encoder.frame_features(x), encoder.frame_features(x)
    assert torch.equal(first["fc1"], second["fc1"])
    assert not torch.equal(first["fc2"], second["fc2"])


@pytest.mark.parametrize("cut", AudioNTT.taps)
def test_the_embedding_does_not_depend_on_how_much_padding_follows(cut: str) -> None:
    """Beyond the margin that the convolutions see, more padding changes nothing."""
    encoder = small(cut=cut)
    padding = -3.0
    clip = torch.randn(1, 1, 16, 45)
    enough = 48 + 8 * -(-AudioNTT.margin // 8)

    def embed(frames: int) -> torch.Tensor:
        padded = torch.full((1, 1, 16, frames), padding)
        padded[..., :45] = clip
        return encoder(padded, torch.tensor([[0.0, 45.0]]))

    torch.testing.assert_close(embed(enough), embed(160))
    mates = torch.full((2, 1, 16, 160), padding)
    mates[:1, ..., :45] = clip
    mates[1] = torch.randn(1, 16, 160)
    both = encoder(mates, torch.tensor([[0.0, 45.0], [0.0, 160.0]]))
    torch.testing.assert_close(both[:1], embed(160))


@pytest.mark.parametrize("cut", ["block3", "fc2"])
def test_padding_and_no_padding_differ_only_at_the_border(cut: str) -> None:
    encoder = small(cut=cut)
    clip = torch.randn(1, 1, 16, 64)
    padded = torch.nn.functional.pad(clip, (0, 64), value=-3.0)
    alone = encoder.frame_features(clip)[cut]
    beside = encoder.frame_features(padded)[cut]
    inner = (64 - AudioNTT.margin) // 8
    torch.testing.assert_close(alone[:, :inner], beside[:, :inner])
    assert not torch.allclose(alone[:, inner:], beside[:, inner : alone.shape[1]])


def test_negative_features_survive_masked_maximum() -> None:
    encoder = small(fc_pooling="max", block_pooling="max")
    frames = torch.tensor([[[-5.0], [-2.0], [7.0], [9.0]]])
    spans = torch.tensor([[0.0, 16.0]])
    assert encoder.pool(frames, spans, "fc2").item() == -2.0
    assert encoder.pool(frames, None, "block3").item() == 9.0


def test_nan_in_padding_does_not_reach_the_embedding() -> None:
    frames = torch.tensor([[[1.0], [3.0], [float("nan")]]])
    spans = torch.tensor([[0.0, 16.0]])
    assert small().pool(frames, spans, "fc2").item() == 5.0  # max 3 + mean 2


def test_span_mask_counts_overlapping_frames_and_never_none() -> None:
    spans = torch.tensor([[0.0, 9.0], [7.5, 16.0], [8.0, 8.0]])
    assert span_mask(spans, 3, 8).tolist() == [
        [True, True, False],
        [True, True, False],
        [True, True, True],
    ]


def test_channels_last_and_bfloat16() -> None:
    encoder = small()
    x = torch.randn(2, 1, 16, 32)
    expected = encoder(x)
    encoder.to(memory_format=torch.channels_last)
    torch.testing.assert_close(encoder(x), expected, atol=1e-5, rtol=1e-4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(encoder(x).float(), expected, atol=0.1, rtol=0.05)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"n_mels": 60}, "n_mels=60 must be a multiple of 8"),
        ({"cut": "block4"}, "cut='block4' is no tap.*block3"),
        ({"dropout": 1.0}, "dropout=1.0"),
        ({"d": 0}, "d=0"),
    ],
)
def test_refuses_settings_without_meaning(settings: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        AudioNTT(**settings)


@pytest.mark.parametrize("shape", [(2, 1, 64, 32), (2, 1, 16, 7), (2, 16, 32)])
def test_refuses_input_of_another_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected \(B, 1, 16, T\) with T >= 8"):
        small()(torch.zeros(shape))


def test_truncating_at_no_tap_names_the_taps() -> None:
    with pytest.raises(ValueError, match=r"cut='fc3' is no tap.*fc2"):
        small().truncated("fc3")


def test_registry_names_choices_and_the_nearest() -> None:
    assert "audio_ntt" in available()
    assert isinstance(create("audio_ntt", d=8, channels=2), AudioNTT)
    with pytest.raises(ValueError, match=r"'audiontt' is no encoder.*did you mean 'audio_ntt'"):
        create("audiontt")
    with pytest.raises(ValueError, match=r"'chanels' is no setting of audio_ntt.*'channels'"):
        create("audio_ntt", chanels=3)
