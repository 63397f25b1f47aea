"""The small network between an encoder and a self-supervised loss."""

from itertools import pairwise

from torch import nn

from ..core.errors import UserError


class Projector(nn.Sequential):
    """Linear layers with batch norm, if wanted, and ReLU between them, (B, inputs) -> (B, outputs).

    The defaults are DECAR-v2's (official code): Linear D -> 2048, batch norm, ReLU, Linear -> 512.

    Raises:
        UserError: A dimension is smaller than 1.

    >>> Projector(inputs=8, hidden=4, outputs=2)
    Projector(8 -> 4 -> 2)
    """

    def __init__(
        self,
        *,
        inputs: int,
        hidden: int = 2048,
        outputs: int = 512,
        hidden_layers: int = 1,
        bias: bool = True,
        batch_norm: bool = True,
    ) -> None:
        widths = [inputs, *[hidden] * hidden_layers, outputs]
        if min(widths) < 1:
            raise UserError(f"projector of widths {widths}: every width must be at least 1")
        layers: list[nn.Module] = []
        for width, next_width in pairwise(widths[:-1]):
            layers += [nn.Linear(width, next_width, bias=bias)]
            layers += [nn.BatchNorm1d(next_width)] if batch_norm else []
            layers += [nn.ReLU()]
        super().__init__(*layers, nn.Linear(widths[-2], outputs, bias=bias))
        self.widths = widths

    def __repr__(self) -> str:
        return f"Projector({' -> '.join(map(str, self.widths))})"
