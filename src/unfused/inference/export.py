"""A classifier as a folder for others: weights and JSON, ONNX where it can be made."""

import json
import logging
import shutil
from pathlib import Path
from typing import Any

from ..core.errors import UserError
from ..core.outputs import write_json
from ..tasks.corpus import Corpus
from .classifier import Classifier
from .onnx_file import export_onnx, quantise

log = logging.getLogger(__name__)
ONNX_FILE, INT8_FILE = "model.onnx", "model_int8.onnx"
FACTS_FILE, SCRIPT = "onnx.json", "classify_onnx.py"


def export_classifier(
    classifier: Classifier, folder: str | Path, *, onnx: bool = True, int8_on: Corpus | None = None
) -> None:
    """Write a classifier, also as ONNX; what an earlier export left is replaced.

    The folder receives what :func:`~unfused.inference.classifier.load_classifier` reads,
    ``config.json`` for the Hugging Face hub, ``model.onnx`` with ``classify_onnx.py``, which runs
    it, and ``onnx.json``, which says what it is and how far from PyTorch, or why there is none.
    With labelled clips ``int8_on`` a second ONNX file has weights in 8 bits, and is measured on
    them.

    Raises:
        OnnxMismatchError: ONNX Runtime computes something else than PyTorch.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name in (ONNX_FILE, INT8_FILE, FACTS_FILE, SCRIPT):
        (folder / name).unlink(missing_ok=True)
    classifier.save(folder)
    config = {
        "library_name": "unfused", "pipeline_tag": "audio-classification",
        "embedder": classifier.embedder_.name, "hidden_size": classifier.embedder_.dim,
        "sampling_rate": classifier.front_end_.sample_rate,
        "id2label": {str(i): str(name) for i, name in enumerate(classifier.classes_)},
        "task": classifier.facts_.get("task"),
    }  # fmt: skip
    write_json(folder / "config.json", config)
    facts: dict[str, Any] = {"file": None, "why": "not asked for (export.onnx=false)"}
    if onnx:
        try:
            facts = export_onnx(classifier, folder / ONNX_FILE)
            log.info("%s: %.2g from PyTorch at most", folder / ONNX_FILE, facts["relative"])
        except UserError as error:  # the extra is not installed, or the embedder is from outside
            log.warning("no ONNX file: %s", error)
            facts["why"] = str(error)
    if facts["file"]:
        shutil.copyfile(Path(__file__).with_name(SCRIPT), folder / SCRIPT)
        if int8_on is not None:
            facts["int8"] = quantise(classifier, folder / ONNX_FILE, folder / INT8_FILE, int8_on)
            log.info("8 bits: score %(score_int8).3f instead of %(score).3f", facts["int8"])
    write_json(folder / FACTS_FILE, facts)


def read_onnx_facts(folder: str | Path) -> dict[str, Any]:
    """Return what :func:`export_classifier` noted about ONNX."""
    return dict(json.loads((Path(folder) / FACTS_FILE).read_text(encoding="utf-8")))
