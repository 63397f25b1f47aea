"""How many labels there are to learn from: budgets, and the clips that get them."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..core.errors import UserError
from ..core.seeding import numpy_generator
from .label_kinds import SINGLE_LABEL, LabelKind


@dataclass(frozen=True)
class LabelBudget:
    """A number of labels per class, or a share of all labels.

    Attributes:
        per_class: Labels of each class; None: a share.
        share: Share of each class's labels, in (0, 1].

    >>> str(LabelBudget.parse(5)), str(LabelBudget.parse("10%"))
    ('5 per class', '10 %')
    """

    per_class: int | None = None
    share: float | None = None

    @classmethod
    def parse(cls, given: int | str) -> LabelBudget:
        """Return what ``5`` or ``"10%"`` means.

        Raises:
            UserError: It is neither a positive whole number nor a percentage up to 100.
        """
        text = str(given).strip()
        if text.isdecimal() and int(text) > 0:
            return cls(per_class=int(text))
        if re.fullmatch(r"\d+(\.\d+)? *%", text) and 0 < float(text.rstrip("% ")) <= 100:
            return cls(share=float(text.rstrip("% ")) / 100)
        raise UserError(
            f"label budget {given!r} must be a number of labels per class, such as 5, or a share "
            "of all labels, such as 10%"
        )

    def count(self, available: int) -> int:
        """Return how many of a class's ``available`` labels are given, at least one."""
        if self.per_class is not None:
            return min(self.per_class, available)
        return max(1, round((self.share or 0.0) * available))

    def __str__(self) -> str:
        return (
            f"{self.per_class} per class" if self.per_class else f"{100 * (self.share or 0.0):g} %"
        )


def draw_labelled(
    labels: ArrayLike, budget: LabelBudget, *, draw: int, seed: int, kind: LabelKind = SINGLE_LABEL
) -> NDArray[np.int64]:
    """Return which training clips keep their label, sorted, (M,).

    Every class gets its budget (a clip with several labels counts as one of its rarest). A draw's
    smaller budgets are part of its larger ones, so that a curve over budgets is one of growing
    knowledge.

    Args:
        labels: Label of each training clip, (N,).
        budget: How many.
        draw: Number of the draw.
        seed: Seed of all draws.
        kind: Whether a label is one class or a set of classes.
    """
    strata = kind.strata(labels)
    chosen = []
    for name in np.unique(strata):
        members = np.flatnonzero(strata == name)
        order = numpy_generator(seed, "label budget", draw, str(name)).permutation(members)
        chosen.append(order[: budget.count(len(members))])
    return np.sort(np.concatenate(chosen))
