"""A classifier on clip vectors as a stored artefact: classes, weights, calibration and origin."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

from ..core.errors import UserError
from ..data.label_sets import BAR
from ..embeddings.read_out import Floats
from ..encoders.trained import read_facts, save_weights
from ..tasks.label_kinds import MULTI_LABEL, SINGLE_LABEL, LabelKind
from .calibration import Calibration
from .linear_models import Linear
from .probe import Probe

FORMAT_VERSION = 2
WEIGHTS_FILE = "head.safetensors"


@dataclass(frozen=True)
class Head:
    """A linear classifier of C classes on standardised vectors that knows how sure it may be.

    Its provenance, JSON values, says how it was made.

    Raises:
        UserError: The arrays are not finite or do not fit together.
    """

    classes: NDArray[np.str_]
    kind: LabelKind
    linear: Linear
    calibration: Calibration
    provenance: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n_classes, dim = len(self.classes), self.dim
        shapes = ((n_classes, dim), (n_classes,), (dim,), (dim,), (len(self.linear.centres), dim))
        for name, array, shape in zip(Linear._fields, self.linear, shapes, strict=True):
            if array.shape != shape or not np.isfinite(array).all():
                raise UserError(
                    f"{name} of shape {array.shape} must be finite and of shape {shape}: fit the "
                    "classifier again"
                )

    @classmethod
    def of_probe(cls, probe: Probe, **provenance: Any) -> Head:
        """Return what a fitted probe learnt from all the labels that it was given."""
        facts = {
            "protocol": "linear_probe", "setting": str(probe.setting_),
            "chosen_by": probe.kind.chosen_by, "chosen_on": probe.chosen_on_,
            "validation_scores": {str(key): value for key, value in probe.scores_.items()},
            **provenance,
        }  # fmt: skip
        return cls(probe.classes_, probe.kind, probe.all_, probe.calibration_, facts)

    @property
    def dim(self) -> int:
        """Dimension of the vectors that it takes."""
        return len(self.linear.mean)

    def logits(self, vectors: Floats) -> Floats:
        """Return the logits of each class, (N, D) -> (N, C).

        Raises:
            UserError: The vectors have another dimension.
        """
        if vectors.ndim != 2 or vectors.shape[1] != self.dim:
            raise UserError(
                f"vectors of shape {vectors.shape} must be (N, {self.dim}): embed with the "
                "embedder of this head"
            )
        return self.linear.logits(vectors)

    def probabilities(self, vectors: Floats) -> Floats:
        """Return how likely each class is, (N, D) -> (N, C); of one label a clip, rows sum to 1."""
        several = self.kind is MULTI_LABEL
        return self.calibration.probabilities(self.logits(vectors), several=several)

    def strangeness(self, vectors: Floats) -> Floats:
        """Return :meth:`~unfused.probes.calibration.Calibration.strangeness` of vectors, (N,)."""
        return self.calibration.strangeness(self.logits(vectors), self.linear.distances(vectors))

    def named(self, probabilities: NDArray[np.floating]) -> NDArray[np.str_]:
        """Return the most likely class, or the set of classes over their thresholds, (N,)."""
        if self.kind is SINGLE_LABEL:
            return self.classes[probabilities.argmax(axis=1)]
        over = probabilities >= np.array(self.calibration.thresholds)
        return np.array([BAR.join(self.classes[row]) for row in over], dtype=object)


def save_head(folder: str | Path, head: Head) -> None:
    """Write ``head.safetensors`` and ``head.json`` into a folder, the latter last."""
    arrays = {name: np.ascontiguousarray(array) for name, array in head.linear._asdict().items()}
    facts = {
        "classes": [str(name) for name in head.classes],
        "kind": head.kind.name,
        "calibration": head.calibration._asdict(),
        "provenance": head.provenance,
    }
    save_weights(Path(folder) / WEIGHTS_FILE, save(arrays), facts, FORMAT_VERSION)


def load_head(folder: str | Path) -> Head:
    """Read what :func:`save_head` wrote.

    Raises:
        NotFoundError: There is no head in ``folder``.
        UserError: It is damaged or of another format.
    """
    file = Path(folder) / WEIGHTS_FILE
    facts = read_facts(file, FORMAT_VERSION, "classifier", "fit the classifier again")
    known = facts["calibration"]
    pairs = {name: tuple(known[name]) for name in ("thresholds", "evidence", "distance")}
    kind = MULTI_LABEL if facts["kind"] == MULTI_LABEL.name else SINGLE_LABEL
    linear, calibration = Linear(**load(file.read_bytes())), Calibration(**known | pairs)
    return Head(np.array(facts["classes"]), kind, linear, calibration, facts["provenance"])
