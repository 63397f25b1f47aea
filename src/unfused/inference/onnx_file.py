"""A classifier as one ONNX file: samples in, probabilities out, checked against PyTorch.

It runs with ONNX Runtime alone; ``classify_onnx.py`` beside it shows how.
"""

import importlib.util
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..core.errors import NotFoundError
from ..data.reading import read_mono
from ..embeddings.audio_input import audio_store
from ..tasks.corpus import Corpus
from .classifier import Classifier
from .onnx_graph import OnnxClassifier

PACKAGES = ("onnx", "onnxruntime", "onnxscript")
OPSET = 18
TOLERANCE = 2e-3
"""Largest difference from PyTorch, of an embedding over the embeddings' root mean square and of a
probability: PyTorch computes log-mels in float64, the file in float32."""
CHECKED_SECONDS = (0.35, 0.96, 1.0, 2.345, 5.01, 12.0)  # lengths with which a file is checked


class OnnxMismatchError(RuntimeError):
    """ONNX Runtime computes something else than PyTorch."""


def missing_packages() -> list[str]:
    """Return which packages of the extra ``onnx`` are not installed."""
    return [name for name in PACKAGES if importlib.util.find_spec(name) is None]


def export_onnx(classifier: Classifier, path: str | Path) -> dict[str, Any]:
    """Write a classifier as ONNX and check it; a file that fails the check is not left behind.

    Input ``samples`` (B, N) at the front-end's rate, N >= 0.1 s; outputs ``probabilities`` (B, C)
    and ``embedding`` (B, D), all float32. Clips above 12 s differ a little from PyTorch, which
    takes them in chunks.

    Returns:
        Facts about the file, JSON values.

    Raises:
        OnnxMismatchError: The file computes something else than PyTorch.
        NotFoundError: The extra ``onnx`` is not installed.
        UserError: The embedder is from outside.
    """
    if missing := missing_packages():
        how = 'pip install "unfused[onnx]", in the project\'s folder pip install -e ".[onnx]"'
        raise NotFoundError(f"ONNX needs {missing}: {how}")
    path, module = Path(path), OnnxClassifier(classifier).eval()
    rate, temporary = classifier.front_end_.sample_rate, path.with_name(path.name + ".tmp")
    shapes = {"samples": dict.fromkeys((0, 1), torch.export.Dim.DYNAMIC)}
    try:
        with _quiet():
            program = torch.export.export(  # the other tracer fixes the batch of a Conformer
                module, (torch.zeros(3, rate),), dynamic_shapes=shapes, strict=True
            )
            torch.onnx.export(
                program, (), str(temporary), input_names=["samples"],
                output_names=["probabilities", "embedding"], opset_version=OPSET,
                external_data=False, verbose=False,
            )  # fmt: skip
        facts = check_onnx(classifier, temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return {
        "file": path.name,
        "input": f"samples (B, N) float32 in [-1, 1] at {rate} Hz, mono, N >= {rate // 10}",
        "output": "probabilities (B, C) and embedding (B, D), float32",
        "sample_rate": rate,
        "segment_seconds": classifier.segment_seconds_,
        "classes": [str(name) for name in classifier.classes_],
        "opset": OPSET,
        **facts,
    }


def check_onnx(classifier: Classifier, path: str | Path) -> dict[str, Any]:
    """Compare a file with PyTorch on noise of several lengths.

    Returns:
        The shapes (B, N) that were compared, the largest ``difference`` of an embedding, the same
        over the embeddings' root mean square (``relative``), the largest difference of a
        probability, and the version of ONNX Runtime.

    Raises:
        OnnxMismatchError: A difference is above :data:`TOLERANCE`, or not a number.
    """
    import onnxruntime

    session, front_end = _session(path), classifier.front_end_
    rng, worst, shapes = np.random.default_rng(0), np.zeros(3), []
    for seconds in CHECKED_SECONDS:
        samples = rng.normal(0, 0.1, (2, int(seconds * front_end.sample_rate))).astype(np.float32)
        samples[1] *= np.linspace(1, 0.01, samples.shape[1])
        store = audio_store(list(samples), front_end, front_end.sample_rate)
        clips = Corpus.of(store, store.index[["clip_id"]])
        expected = classifier.embedder_.embed(clips, device="cpu")
        likely, found = session.run(["probabilities", "embedding"], {"samples": samples})
        difference = np.abs(found - expected).max()
        size = max(float(np.sqrt(np.square(expected).mean())), 1e-12)
        change = np.abs(likely - classifier.head_.probabilities(expected)).max()
        worst = np.maximum(worst, [difference, difference / size, change])  # keeps NaN
        shapes.append(list(samples.shape))
    if not (worst[1:] <= TOLERANCE).all():
        raise OnnxMismatchError(
            f"ONNX Runtime {onnxruntime.__version__} differs from PyTorch by {worst[1]:.3g} of the "
            f"embeddings' size and by {worst[2]:.3g} in probabilities; allowed are {TOLERANCE}: no "
            "ONNX file is written; try other versions of onnx, onnxscript and onnxruntime"
        )
    names = ("difference", "relative", "probability_difference")
    differences = dict(zip(names, worst.tolist(), strict=True))
    return {"shapes": shapes, **differences, "runtime": onnxruntime.__version__}


def quantise(classifier: Classifier, path: Path, smaller: Path, corpus: Corpus) -> dict[str, Any]:
    """Write what :func:`export_onnx` wrote with the encoder's weights in 8 bits, into ``smaller``.

    What that costs is measured on labelled clips that the classifier was not fitted on.

    Returns:
        Score of both files on the clips (accuracy, with several labels mAP), the share of clips
        with the same label, and both sizes in bytes.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    graph = onnx.load(str(path)).graph
    exact = [  # the Fourier basis, mel filters and the probe stay as they are
        node.name
        for node in graph.node
        if any(name.startswith(("log_mel.", "weight", "bias")) for name in node.input)
    ]
    with _quiet():
        quantize_dynamic(path, smaller, weight_type=QuantType.QUInt8, nodes_to_exclude=exact)
    rate = classifier.front_end_.sample_rate
    sessions, likely = [_session(path), _session(smaller)], []
    for file, offset, n in corpus.clips[["path", "offset", "frames"]].itertuples(index=False):
        given = {"samples": read_mono(file, offset=offset, frames=n, sample_rate=rate)[None]}
        likely.append([session.run(["probabilities"], given)[0][0] for session in sessions])
    before, after = np.array(likely).transpose(1, 0, 2)
    named = [classifier.head_.named(part) for part in (before, after)]
    return {
        "file": smaller.name,
        "score": classifier.scored(before, corpus),
        "score_int8": classifier.scored(after, corpus),
        "same_label": float((named[0] == named[1]).mean()),
        "bytes": path.stat().st_size,
        "bytes_int8": smaller.stat().st_size,
    }


def _session(path: str | Path) -> Any:
    import onnxruntime

    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's remarks on its own workings out of the log."""
    before = logging.root.manager.disable
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(before)
