"""Settings that only together make no sense."""

from __future__ import annotations

from collections.abc import Mapping

from ..core.errors import UserError, did_you_mean
from .audio import FrontEndParams
from .evaluation import Evaluation
from .methods import Distillation, MethodParams
from .run import EncoderParams


def check_together(
    encoder: EncoderParams,
    front_end: FrontEndParams,
    distillation: Distillation,
    evaluation: Evaluation,
    methods: Mapping[str, MethodParams] | None = None,
) -> None:
    """Refuse settings that only together make no sense, before hours of training show it.

    Args:
        encoder: The run's encoder.
        front_end: Makes the log-mels.
        distillation: Of the student, which has the run's encoder.
        evaluation: Where encoders are probed.
        methods: Name -> those of the run, which may bring encoders of their own.

    Raises:
        ValueError: A cut is no tap of any encoder, or an encoder expects other log-mels.
    """
    from ..encoders import create

    own = {f"methods.{name}.": method.encoder for name, method in (methods or {}).items()}
    modules = {
        where: create(item.name, **item.settings)
        for where, item in {"": encoder, **own}.items()
        if item is not None
    }
    taps = list(modules[""].dims)
    every = list(dict.fromkeys(tap for module in modules.values() for tap in module.dims))
    for name, given, choices in (
        ("unfused.distillation.cut", [distillation.cut], taps),
        ("unfused.distillation.blocks", distillation.blocks, taps[:-1]),  # the last one teaches
        ("evaluation.cuts", evaluation.cuts, every),
    ):
        if unknown := [cut for cut in given if cut not in choices]:
            raise UserError(
                f"{name}={unknown[0]!r} is no tap of encoder {encoder.name!r}: choose from "
                f"{choices}{did_you_mean(unknown[0], choices)}"
            )
    for where, module in modules.items():
        n_mels = getattr(module, "settings", {}).get("n_mels", front_end.n_mels)
        if n_mels != front_end.n_mels:
            raise UserError(
                f"front_end.n_mels={front_end.n_mels}, but the encoder takes {n_mels}: set "
                f"{where}encoder.settings.n_mels={front_end.n_mels} too"
            )
