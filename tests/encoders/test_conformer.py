from __future__ import annotations

import pytest
import torch
from torchaudio.models import Conformer as TorchaudioConformer
from torchaudio.models.conformer import ConformerLayer

from unfused.encoders import Conformer, TrainedEncoder, create, load_encoder, save_encoder
from unfused.encoders.conformer import ConformerBlock, masked_group_norm

PADDING = -3.0
TINY = {"n_mels": 16, "latent_dim": 32, "embed_dim": 64, "n_layers": 2, "n_heads": 4, "ffn_dim": 96}
TAPS = ("features", "layer1", "layer2")


def tiny(seed: int = 0, **settings: object) -> Conformer:
    """Return a small Conformer in evaluation mode whose norms do more than they start with."""
    torch.manual_seed(seed)
    encoder = Conformer(**{**TINY, **settings}).eval()
    with torch.no_grad():
        for parameter in encoder.parameters():
            if parameter.dim() == 1:  # biases, and the weights of norms
                parameter.add_(0.3 * torch.randn_like(parameter))
    return encoder


def reference_blocks(encoder: Conformer) -> TorchaudioConformer:
    """Return torchaudio's own Conformer with the encoder's weights."""
    sizes = {k: encoder.settings[k] for k in ("ffn_dim", "dropout")}
    kinds = {"use_group_norm": True, "convolution_first": True}
    width, heads = encoder.settings["embed_dim"], encoder.settings["n_heads"]
    reference = TorchaudioConformer(
        width,
        heads,
        num_layers=encoder.settings["n_layers"],
        depthwise_conv_kernel_size=encoder.settings["kernel"],
        **sizes,
        **kinds,
    )
    first = encoder.settings["first_kernel"]
    reference.conformer_layers[0] = ConformerLayer(
        width, sizes["ffn_dim"], heads, first, dropout=sizes["dropout"], **kinds
    )
    reference.conformer_layers.load_state_dict(encoder.layers.state_dict())
    return reference.eval()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [({}, 18.4e6), ({"embed_dim": 768, "n_heads": 12}, 87.9e6)],
    ids=["small", "large"],
)
def test_number_of_parameters(settings: dict, expected: float) -> None:
    with torch.device("meta"):
        assert Conformer(**settings).n_parameters == pytest.approx(expected, rel=0.01)


def test_kernels_are_31_then_15() -> None:
    with torch.device("meta"):
        layers = Conformer().layers
    kernels = [layer.conv_module.sequential[2].kernel_size[0] for layer in layers]
    assert kernels == [31, *[15] * 11]


@pytest.mark.parametrize("padded_path", [False, True])
def test_equals_torchaudios_conformer(padded_path: bool) -> None:
    encoder = tiny(n_layers=3)
    log_mel = torch.randn(3, 1, 16, 41)
    stacked = log_mel[:, 0, :, :40].transpose(1, 2).reshape(3, 10, 64)  # four frames side by side
    latents = encoder.layer_norm(encoder.stack(stacked))
    expected, _ = reference_blocks(encoder)(encoder.projection(latents), torch.full((3,), 10))
    spans = torch.tensor([[0.0, 41.0]] * 3) if padded_path else None
    features = encoder.frame_features(log_mel, spans)
    torch.testing.assert_close(features["features"], latents)
    torch.testing.assert_close(features["layer3"], expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(encoder(log_mel, spans), expected.mean(1), rtol=1e-4, atol=1e-5)


def test_a_padded_clip_gets_what_torchaudio_gives_the_clip_alone() -> None:
    encoder, lengths = tiny(), [48, 20, 33]
    clips = [torch.randn(1, 1, 16, n) for n in lengths]
    batch = torch.full((3, 1, 16, 48), PADDING)
    for row, clip in zip(batch, clips, strict=True):
        row[..., : clip.shape[3]] = clip[0]
    spans = torch.tensor([[0.0, n] for n in lengths])
    frames = encoder.frame_features(batch, spans)["layer2"]
    for row, clip in zip(frames, clips, strict=True):
        n = clip.shape[3] // 4
        latents = encoder.projection(encoder.latents(clip))
        alone, _ = reference_blocks(encoder)(latents, torch.tensor([n]))
        torch.testing.assert_close(row[:n], alone[0], rtol=1e-4, atol=1e-5)


def test_torchaudios_own_layer_reads_the_padding() -> None:
    """Why a block of ours is needed at all."""
    block = tiny().layers[0]
    frames = torch.randn(10, 1, 64)
    padded = torch.cat([frames, torch.randn(5, 1, 64)])
    mask = (torch.arange(15) >= 10)[None]
    theirs = ConformerLayer.forward(block, padded, mask)[:10]
    assert not torch.allclose(theirs, block(frames, None), atol=1e-2)
    torch.testing.assert_close(block(padded, mask)[:10], block(frames, None), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("tap", TAPS)
@pytest.mark.parametrize(("start", "total"), [(0, 45), (0, 160), (7, 60), (101, 160)])
def test_padding_does_not_change_the_embedding(tap: str, start: int, total: int) -> None:
    encoder = tiny(cut=tap)
    clip = torch.randn(1, 1, 16, 45, generator=torch.Generator().manual_seed(1))
    padded = torch.full((2, 1, 16, total), PADDING)
    padded[:1, ..., start : start + 45] = clip
    padded[1] = torch.randn(1, 16, total)
    spans = torch.tensor([[start, start + 45.0], [0.0, total]])
    torch.testing.assert_close(encoder(padded, spans)[:1], encoder(clip), rtol=1e-4, atol=1e-5)


def test_padding_changes_no_gradient() -> None:
    encoder, clip = tiny(), torch.randn(1, 1, 16, 40)
    padded, spans = torch.full((1, 1, 16, 90), PADDING), torch.tensor([[13.0, 53.0]])
    padded[..., 13:53] = clip
    gradients = []
    for inputs in ((clip, None), (padded, spans)):
        encoder.zero_grad()
        encoder(*inputs).square().sum().backward()
        gradients.append([parameter.grad for parameter in encoder.parameters()])
    for alone, beside in zip(*gradients, strict=True):
        torch.testing.assert_close(alone, beside, rtol=1e-3, atol=1e-4)


def test_nan_in_the_padding_stays_there() -> None:
    encoder, padded = tiny(), torch.full((1, 1, 16, 60), float("nan"))
    padded[..., 10:50] = torch.randn(40)
    assert torch.isfinite(encoder(padded, torch.tensor([[10.0, 50.0]]))).all()


def test_a_clip_shorter_than_a_stack_is_one_latent() -> None:
    encoder = tiny()
    spans = torch.tensor([[0.0, 3.0], [5.0, 5.0], [0.0, 24.0]])
    assert encoder.n_real(spans, 6).tolist() == [1, 1, 6]
    assert torch.isfinite(encoder(torch.randn(3, 1, 16, 24), spans)).all()


def test_masked_group_norm_is_torchs_on_the_real_part() -> None:
    torch.manual_seed(0)
    norm, x = torch.nn.GroupNorm(1, 6), torch.randn(2, 6, 9)
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    padding = (torch.arange(9) >= torch.tensor([[4], [9]]))[:, None]
    normed = masked_group_norm(x, padding, norm)
    torch.testing.assert_close(normed[:1, :, :4], norm(x[:1, :, :4]))
    torch.testing.assert_close(normed[1:], norm(x[1:]))


@pytest.mark.parametrize("cut", TAPS)
def test_truncated_gives_the_same_embedding_and_nothing_after_it(cut: str) -> None:
    encoder, x = tiny(), torch.randn(2, 1, 16, 40)
    spans = torch.tensor([[0.0, 40.0], [3.0, 30.0]])
    short = encoder.truncated(cut)
    assert tuple(short.dims) == TAPS[: TAPS.index(cut) + 1]
    assert short.taps == TAPS
    assert set(short.strides.values()) == {4}
    assert short.dim == (32 if cut == "features" else 64)
    torch.testing.assert_close(short(x, spans), encoder.pooled(x, spans)[cut])
    assert (short.n_parameters < encoder.n_parameters) == (cut != "layer2")


def test_save_and_load(tmp_path) -> None:
    encoder, x = tiny(cut="layer1"), torch.randn(1, 1, 16, 40)
    trained = TrainedEncoder(encoder, "conformer", {"n_mels": 16}, mean=0.0, std=1.0)
    save_encoder(tmp_path, trained)
    loaded = load_encoder(tmp_path).encoder
    assert isinstance(loaded, Conformer)
    assert loaded.settings == encoder.settings
    assert torch.equal(loaded(x), encoder(x))


def test_dropout_only_in_training() -> None:
    encoder, x = tiny(), torch.randn(2, 1, 16, 40)
    assert torch.equal(encoder(x), encoder(x))
    encoder.train()
    assert not torch.equal(encoder(x), encoder(x))


def test_bfloat16_is_close_on_both_paths() -> None:
    encoder, x = tiny(), torch.randn(2, 1, 16, 40)
    expected = encoder(x)
    for spans in (None, torch.tensor([[0.0, 40.0]] * 2)):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            torch.testing.assert_close(encoder(x, spans).float(), expected, atol=0.1, rtol=0.05)


def test_masked_latents_change_their_neighbours_only_through_the_blocks() -> None:
    encoder = tiny()
    latents = encoder.latents(torch.randn(1, 1, 16, 40))
    replaced = latents.clone()
    replaced[:, 4] = 0.0
    features = encoder.contextualised(latents, None), encoder.contextualised(replaced, None)
    pairs = zip(*map(dict.values, features), strict=True)
    changed = [(one != other).any(-1)[0] for one, other in pairs]
    assert changed[0].nonzero().flatten().tolist() == [4]
    assert changed[2].all()


def test_registered_with_its_settings() -> None:
    encoder = create("conformer", **TINY, dropout=0.0)
    assert isinstance(encoder, Conformer)
    assert all(isinstance(layer, ConformerBlock) for layer in encoder.layers)
    assert (encoder.cut, encoder.taps[-1]) == ("layer2", "layer2")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"n_heads": 5}, "n_heads=5 does not divide embed_dim=64"),
        ({"kernel": 4}, "kernel=4 must be odd"),
        ({"n_layers": 0}, "n_layers=0 must be at least 1"),
        ({"dropout": 1.0}, "dropout=1.0"),
        ({"cut": "layer3"}, "cut='layer3' is no tap of this Conformer.*layer2"),
    ],
)
def test_refuses_settings_without_meaning(settings: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        tiny(**settings)


@pytest.mark.parametrize("shape", [(2, 1, 64, 32), (2, 1, 16, 3), (2, 16, 32)])
def test_refuses_input_of_another_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected \(B, 1, 16, T\) with T >= 4"):
        tiny()(torch.zeros(shape))
