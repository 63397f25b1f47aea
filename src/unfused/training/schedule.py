"""The learning rate as a closed form of the step, so that nothing of it needs saving."""

from __future__ import annotations

from math import cos, pi

from ..core.errors import UserError

FINAL = 1e-3
"""Where the cosine ends, relative to the peak: a thousandth, as DeLoRes (arXiv 2203.13628)."""


def learning_rate(step: int, total: int, warmup: int, base: float, kind: str = "cosine") -> float:
    """Return the learning rate of one step.

    Args:
        step: Step, 0 to ``total - 1``.
        total: Number of steps.
        warmup: Steps over which the rate rises linearly to ``base``; the first already has
            ``base / warmup``.
        base: Peak.
        kind: "cosine" or "constant" after the warm-up.

    Returns:
        The learning rate.

    Raises:
        ValueError: ``kind`` is neither.

    >>> [round(learning_rate(step, 6, 2, 1.0), 3) for step in range(6)]
    [0.5, 1.0, 1.0, 0.75, 0.251, 0.001]
    """
    if kind not in ("cosine", "constant"):
        raise UserError(f"schedule={kind!r} must be one of ['cosine', 'constant']")
    if step < warmup:
        return base * (step + 1) / warmup
    if kind == "constant":
        return base
    progress = (step - warmup) / max(total - 1 - warmup, 1)
    return base * (FINAL + (1 - FINAL) * (1 + cos(pi * min(progress, 1.0))) / 2)
