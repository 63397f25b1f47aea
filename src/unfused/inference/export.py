"""A classifier as files for others: safetensors and JSON, and ONNX where it can be made."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..core.outputs import write_json
from ..probes.stored_classifier import save_classifier
from .classifier import Classifier
from .onnx_file import HOW_TO_INSTALL, export_onnx, missing_packages

log = logging.getLogger(__name__)
ONNX_FILE, FACTS_FILE = "encoder.onnx", "onnx.json"


def export_classifier(classifier: Classifier, folder: str | Path, *, onnx: bool = True) -> None:
    """Write a classifier, and its encoder as ONNX; what an earlier export left is replaced.

    Args:
        classifier: What to export.
        folder: Receives ``encoder.*``, ``head.*`` and ``onnx.json``, which says what
            ``encoder.onnx`` is and how far it is from PyTorch, or why there is none.
        onnx: Whether ONNX is wanted.

    Raises:
        OnnxMismatchError: ONNX Runtime computes something else than PyTorch.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name in (ONNX_FILE, FACTS_FILE):
        (folder / name).unlink(missing_ok=True)
    save_classifier(folder, classifier.encoder, classifier.head)
    write_json(folder / FACTS_FILE, _onnx(classifier, folder / ONNX_FILE, onnx))


def read_onnx_facts(folder: str | Path) -> dict[str, Any]:
    """Return what :func:`export_classifier` noted about ONNX."""
    facts: dict[str, Any] = json.loads((Path(folder) / FACTS_FILE).read_text(encoding="utf-8"))
    return facts


def _onnx(classifier: Classifier, path: Path, wanted: bool) -> dict[str, Any]:
    if not wanted:
        return {"file": None, "why": "not asked for (export.onnx=false)"}
    if missing := missing_packages():
        log.warning("no ONNX file: %s not installed; %s", ", ".join(missing), HOW_TO_INSTALL)
        return {"file": None, "why": f"{', '.join(missing)} not installed; {HOW_TO_INSTALL}"}
    check = export_onnx(classifier.encoder, path)
    log.info("%s: %.2g from PyTorch at most", path, check.difference)
    return {
        "file": path.name,
        "input": "log_mel (B, T, F) float32, as the front-end makes it, 96 <= T",
        "output": "embedding (B, D) float32",
        **asdict(check),
    }
