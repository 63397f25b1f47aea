"""A classifier on clip embeddings as a stored artefact: classes, scaler, weights and origin."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load, save

from ..core.errors import NotFoundError, UserError
from ..core.outputs import write_bytes, write_json
from ..tasks.label_kinds import MULTI_LABEL, SINGLE_LABEL, LabelKind
from .fine_tuned import FineTuned
from .linear_probe import LinearProbe

FORMAT_VERSION = 1
WEIGHTS_FILE, SETTINGS_FILE = "head.safetensors", "head.json"
_TENSORS = ("weight", "bias", "mean", "scale")
_KINDS = {kind.name: kind for kind in (SINGLE_LABEL, MULTI_LABEL)}


@dataclass(frozen=True)
class Head:
    """A linear classifier on standardised embeddings.

    Attributes:
        classes: Class names, (C,).
        kind: Whether a clip has one label or several.
        weight: (C, D) float32.
        bias: (C,) float32.
        mean: Subtracted from an embedding first, (D,) float32.
        scale: Divides it then, (D,) float32.
        provenance: How it was made, JSON values.
    """

    classes: NDArray[np.str_]
    kind: LabelKind
    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    mean: NDArray[np.float32]
    scale: NDArray[np.float32]
    provenance: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n_classes, dimension = len(self.classes), self.weight.shape[-1]
        shapes = {
            "weight": (n_classes, dimension),
            "bias": (n_classes,),
            "mean": (dimension,),
            "scale": (dimension,),
        }
        for name, shape in shapes.items():
            array = getattr(self, name)
            if array.shape != shape or not np.isfinite(array).all():
                raise UserError(
                    f"{name} of shape {array.shape} must be finite and of shape {shape}, for "
                    f"{n_classes} classes on {dimension} dimensions: fit the classifier again"
                )

    @classmethod
    def of_probe(cls, probe: LinearProbe, **provenance: Any) -> Head:
        """Return a fitted linear probe as a head."""
        fitted = probe.classifier_
        facts = {
            "protocol": "linear_probe",
            "regularisation": probe.strength_,
            "chosen_by": probe.kind.chosen_by,
            "validation_scores": {str(key): value for key, value in probe.scores_.items()},
            **provenance,
        }
        arrays = (fitted.weight, fitted.bias, fitted.mean, fitted.scale)
        return cls(probe.classes_, probe.kind, *arrays, facts)

    @classmethod
    def of_fine_tuned(cls, tuned: FineTuned, **provenance: Any) -> Head:
        """Return the classifier of a network that was trained end to end as a head."""
        weight, bias = (item.detach().cpu().numpy() for item in tuned.classifier.parameters())
        dimension = weight.shape[1]
        facts = {
            "protocol": "fine_tuning",
            "epoch": tuned.epoch,
            "chosen_by": tuned.kind.chosen_by,
            "validation_score": tuned.score,
            **provenance,
        }
        scaler = np.zeros(dimension, np.float32), np.ones(dimension, np.float32)
        return cls(tuned.classes, tuned.kind, weight, bias, *scaler, facts)

    def logits(self, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the logits of each class, (N, D) -> (N, C).

        Raises:
            ValueError: The embeddings have another dimension.
        """
        if embeddings.ndim != 2 or embeddings.shape[1] != len(self.mean):
            raise UserError(
                f"embeddings of shape {embeddings.shape} must be (N, {len(self.mean)}): embed with "
                "the encoder that this head was fitted on"
            )
        standardised = (embeddings - self.mean) / self.scale
        return np.asarray(standardised @ self.weight.T + self.bias, np.float32)

    def probabilities(self, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return how likely each class is, (N, D) -> (N, C).

        With one label a clip, the rows sum to 1; with several, each class stands for itself.
        """
        logits = torch.from_numpy(self.logits(embeddings))
        likely = logits.softmax(dim=1) if self.kind is SINGLE_LABEL else logits.sigmoid()
        return likely.numpy()

    def labels(self, embeddings: NDArray[np.float32]) -> NDArray[np.str_]:
        """Return the most likely class, or the set of classes above one half, (N,)."""
        return self.kind.predicted(self.logits(embeddings), self.classes)


def save_head(folder: str | Path, head: Head, *, encoder: str) -> None:
    """Write ``head.safetensors`` and ``head.json``, the latter last and with the checksums.

    Args:
        folder: Where to; made if missing.
        head: What to save.
        encoder: :func:`checksum` of the weights of the encoder it was fitted on.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    weights = save({name: np.ascontiguousarray(getattr(head, name)) for name in _TENSORS})
    settings = {
        "format": FORMAT_VERSION,
        "classes": [str(name) for name in head.classes],
        "kind": head.kind.name,
        "provenance": head.provenance,
        "checksum": checksum(weights),
        "encoder": encoder,
    }
    write_bytes(folder / WEIGHTS_FILE, weights)
    write_json(folder / SETTINGS_FILE, settings)


def load_head(folder: str | Path, *, encoder: str) -> Head:
    """Read what :func:`save_head` wrote.

    Args:
        folder: Where it is.
        encoder: Checksum of the weights of the encoder that it is to be used with.

    Raises:
        FileNotFoundError: There is no head in ``folder``.
        ValueError: It is damaged, of another format, or was fitted on another encoder.
    """
    folder = Path(folder)
    for file in (SETTINGS_FILE, WEIGHTS_FILE):
        if not (folder / file).is_file():
            raise NotFoundError(
                f"{folder} holds no classifier: {file} is missing; give the folder that "
                "`kedro run --pipeline=classify` or `--pipeline=export` wrote"
            )
    settings = _read_settings(folder / SETTINGS_FILE)
    weights = (folder / WEIGHTS_FILE).read_bytes()
    if checksum(weights) != settings["checksum"]:
        raise UserError(
            f"{folder / WEIGHTS_FILE} is not the file that {SETTINGS_FILE} describes (interrupted "
            "save or damaged copy): copy the folder again, or fit the classifier again"
        )
    if encoder != settings["encoder"]:
        raise UserError(
            f"the classifier in {folder} was fitted on another encoder than the one beside it: "
            "copy the whole folder again, or fit the classifier again"
        )
    classes, tensors = np.array(settings["classes"]), load(weights)
    kind, origin = _KINDS[settings["kind"]], settings["provenance"]
    return Head(classes, kind, provenance=origin, **{name: tensors[name] for name in _TENSORS})


def checksum(weights: bytes) -> str:
    """Return what identifies a file of weights."""
    return hashlib.blake2b(weights).hexdigest()


def _read_settings(path: Path) -> dict[str, Any]:
    try:
        settings: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is damaged ({error}): fit the classifier again") from error
    if settings.get("format") != FORMAT_VERSION:
        raise UserError(
            f"{path} has format {settings.get('format')!r}, this version reads {FORMAT_VERSION}: "
            "use the version of unfused that wrote it, or fit the classifier again"
        )
    return settings
