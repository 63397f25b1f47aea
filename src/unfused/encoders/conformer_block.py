"""torchaudio's Conformer block, made blind to padding."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchaudio.models.conformer import ConformerLayer


class ConformerBlock(ConformerLayer):
    """Half a feed-forward step, convolution, self-attention, half a feed-forward step, layer norm.

    The block of Gulati et al. (arXiv 2005.08100, fig. 1) with the convolution before the attention
    and group norm inside it, as in Meta's port of arXiv 2110.07313. torchaudio's own layer keeps
    padding out of the attention alone: its convolution reads the padding behind a clip's end, and
    its group norm averages over it. Here neither does, so that a padded clip gets the same output
    as the clip alone. Parameters and their names are torchaudio's.

    Args:
        *sizes: Width D, hidden width of the feed-forward steps, attention heads, and frames that
            the depthwise convolution sees, odd.
        dropout: Dropout after every step.
    """

    def __init__(self, *sizes: int, dropout: float) -> None:
        super().__init__(*sizes, dropout=dropout, use_group_norm=True, convolution_first=True)

    def forward(self, input: Tensor, key_padding_mask: Tensor | None) -> Tensor:  # noqa: A002
        """Transform frames.

        Args:
            input: Frames, (T, B, D).
            key_padding_mask: True where a frame is padding, (B, T); None: nowhere.

        Returns:
            (T, B, D); what stands at padding has no meaning.
        """
        if key_padding_mask is None:
            unpadded: Tensor = super().forward(input, None)
            return unpadded
        x = input + 0.5 * self.ffn1(input)
        x = x + self._convolve(x, key_padding_mask)
        query = self.self_attn_layer_norm(x)
        attended, _ = self.self_attn(
            query, query, query, key_padding_mask=key_padding_mask, need_weights=False
        )
        x = x + self.self_attn_dropout(attended)
        x = x + 0.5 * self.ffn2(x)
        output: Tensor = self.final_layer_norm(x)
        return output

    def _convolve(self, frames: Tensor, padding: Tensor) -> Tensor:
        module, outside = self.conv_module, padding.unsqueeze(1)  # (B, 1, T)
        pointwise, glu, depthwise, norm, *rest = module.sequential
        x = module.layer_norm(frames).permute(1, 2, 0)  # (B, D, T)
        x = glu(pointwise(x)).masked_fill(outside, 0.0)
        x = masked_group_norm(depthwise(x), outside, norm)
        for layer in rest:
            x = layer(x)
        return x.permute(2, 0, 1)


def masked_group_norm(x: Tensor, padding: Tensor, norm: nn.GroupNorm) -> Tensor:
    """Apply a group norm of one group with the mean and variance of the real frames alone.

    Args:
        x: (B, D, T).
        padding: True at padding, (B, 1, T); at least one frame of each clip is not.
        norm: Its weight, bias and eps are used.

    Returns:
        (B, D, T) in at least float32, as autocast has it for group norm.
    """
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    size = (~padding).sum(dim=(1, 2), keepdim=True) * x.shape[1]
    mean = x.masked_fill(padding, 0.0).sum(dim=(1, 2), keepdim=True) / size
    centred = (x - mean).masked_fill(padding, 0.0)
    variance = centred.square().sum(dim=(1, 2), keepdim=True) / size
    normalised = centred * (variance + norm.eps).rsqrt()
    return normalised * norm.weight[:, None] + norm.bias[:, None]
