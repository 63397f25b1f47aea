"""How views are made: names, defaults and rules, in this one place.

The configuration's ``views`` groups are these; importing it imports nothing heavy.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from ..core.errors import UserError, check_fields

Mixing = Literal["mixup", "k_mix", "none"]
Range = tuple[float, float]
_Masks = Annotated[int, "at least 0"]
_Width = Annotated[int, "at least 1"]


@dataclass(frozen=True, kw_only=True)
class ViewSettings:
    """Augmentations of the training crops; BYOL-A's values (arXiv 2103.06695).

    Attributes:
        mixup_ratio: Largest share of a past crop mixed in; 0: none.
        mixup_bank: Past crops kept.
        freq_scale: Height of the resized crop, relative to the input's.
        time_scale: Its width.
        virtual_crop: Canvas of the resized crop, height and width.
        clip_normalisation: Subtract each view's mean in every mel band; embedding does it too.
        freq_masks: Bands of mel channels that SpecAugment hides in each view; 0: none.
        freq_mask_width: Their largest width in channels.
        time_masks: Bands of frames that it hides; 0: none.
        time_mask_width: Their largest width in frames.

    Raises:
        UserError: A value is out of its range.
    """

    mixup_ratio: Annotated[float, "in [0, 1]"] = 0.4
    mixup_bank: Annotated[int, "at least 1"] = 2048
    freq_scale: Range = (0.6, 1.5)
    time_scale: Range = (0.6, 1.5)
    virtual_crop: Range = (1.0, 1.5)
    clip_normalisation: bool = False
    freq_masks: _Masks = 0
    freq_mask_width: _Width = 16
    time_masks: _Masks = 0
    time_mask_width: _Width = 16

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("freq_scale", "time_scale"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise UserError(
                    f"{name}=({low}, {high}) must be 0 < low <= high; (1, 1) leaves the axis alone"
                )
        if min(self.virtual_crop) < 1:
            raise UserError(
                f"virtual_crop={tuple(self.virtual_crop)} must be at least (1, 1): the canvas "
                "holds the whole crop"
            )


@dataclass(frozen=True, kw_only=True)
class MethodViewSettings(ViewSettings):
    """Augmentations of a self-supervised method; k-mix has centroids of the pre-training clips.

    Attributes:
        mixing: ``mixup`` with any past crop, ``k_mix`` (SLICER) with one far away, ``none``.
        k_mix_furthest: How many of the furthest past crops k-mix draws from.
        linear_gain: Largest gain of the linear fade of BYOL-A's version 2, where it is 1; 0: none.

    Raises:
        UserError: A value is out of its range, or k-mix draws from the whole bank.
    """

    mixing: Mixing = "mixup"
    k_mix_furthest: Annotated[int, "at least 1"] = 128
    linear_gain: Annotated[float, "at least 0"] = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.mixing == "k_mix" and self.k_mix_furthest >= self.mixup_bank:
            raise UserError(
                f"k_mix_furthest={self.k_mix_furthest} must be less than mixup_bank="
                f"{self.mixup_bank}: with the whole bank to draw from k-mix is plain mixup"
            )
