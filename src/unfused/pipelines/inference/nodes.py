"""A trained model on new audio, and as files for others."""

import logging
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from ...params import Classify, Export, Run, Task, TrainedModel
from ..data_engineering.nodes import scan_pool_audio
from ..evaluation.nodes import truth

log = logging.getLogger(__name__)


def fit_model(candidates: list, corpus: Any, model: TrainedModel, source: Task, run: Run) -> Path:
    """Fit a linear probe on the chosen encoder and the task's labels; no encoder is trained."""
    from ...core.source import source_digest
    from ...inference import Classifier

    chosen = chosen_candidate(candidates, model)
    facts = model_facts(chosen, corpus, source)

    def build(folder: Path) -> None:
        fitted = Classifier(chosen.load(), device=run.device).fit(corpus.split(chosen.fold)[0])
        fitted.facts_.update(facts)
        fitted.save(folder)

    made_of = {**truth(corpus), "encoder": chosen.digest, "fold": chosen.fold, "facts": facts}
    made_of["source"] = source_digest("inference.classifier")
    return run.outputs(corpus.name, "classifiers").built(chosen.name, made_of, build)


def chosen_candidate(candidates: list, model: TrainedModel) -> Any:
    """Return the first candidate that a choice describes.

    Raises:
        NotFoundError: There is none.
    """
    from ...core.errors import NotFoundError, did_you_mean

    asked = {"label": model.encoder, "seed": model.seed, "fold": model.fold}
    asked["source"] = model.source if model.encoder in ("unfused", "unfused_full") else ""
    trained = [candidate for candidate in candidates if candidate.folder]
    for candidate in trained:
        fits = [value in (None, getattr(candidate, name)) for name, value in asked.items()]
        if all(fits) and (model.cut is None or candidate.read_out.startswith(f"{model.cut} ")):
            return candidate
    known = sorted({f"{candidate.key} ({candidate.read_out})" for candidate in trained})
    raise NotFoundError(
        f"no trained model.encoder={model.encoder!r} of model.source={asked['source']!r} with "
        f"model.seed={model.seed}, model.fold={model.fold} and model.cut={model.cut}: choose among "
        f"{known}{did_you_mean(model.encoder, known)}"
    )


def model_facts(chosen: Any, corpus: Any, source: Task) -> dict[str, Any]:
    """Return what a model card says of task and encoder, besides the scores."""
    known = set(corpus.labelled.clips["clip_id"])
    seen = chosen.load().trained_on["clip_id"]
    return {
        "task": corpus.name,
        "licence": source.licence,
        **{"encoder": chosen.label, "source": chosen.source, "seed": chosen.seed},
        "read_out": chosen.read_out,
        **{"n_trained_on": len(seen), "n_unlabelled": int((~seen.isin(known)).sum())},
    }


def take_network(networks: dict[str, Path], model: TrainedModel) -> Path:
    """Take a network that was trained end to end on the labels."""
    from ...core.errors import NotFoundError

    for name, folder in networks.items():
        seed, fold = name.rsplit("-", 2)[1:]
        asked = (model.seed in (None, int(seed[4:])), model.fold in (None, int(fold[4:])))
        if name.startswith(f"{model.encoder}-") and all(asked):
            return folder
    raise NotFoundError(
        f"no network model.encoder={model.encoder!r} with model.seed={model.seed} and "
        f"model.fold={model.fold} was trained end to end: choose among {list(networks)}"
    )


def scan_new_audio(classify: Classify) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read the headers of new audio; list what can be used and what cannot, with reasons."""
    return scan_pool_audio(classify)


def classify_audio(
    model: Any, scanned: pd.DataFrame, unreadable: pd.DataFrame, classify: Classify, run: Run
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Embed and classify new audio, long files segment by segment."""
    found = model.set_params(device=run.device).classify(
        scanned,
        segment_seconds=classify.segment_seconds,
        hop_seconds=classify.hop_seconds,
        top_k=classify.top_k,
    )
    predictions = found.predictions
    usual = predictions["label"].replace("", "(none)").value_counts()
    said = [f"{count} x {label}" for label, count in usual.head(5).items()]
    said += [f"{usual[5:].sum()} x others"] * (len(usual) > 5)
    damaged = found.rejected.assign(stage="decoding")
    rejected = pd.concat([unreadable, damaged], ignore_index=True)
    counts = (predictions["path"].nunique(), len(predictions), ", ".join(said), len(rejected))
    log.info("%d files, %d segments: %s; %d rejected", *counts)
    return predictions, found.embeddings, rejected


def export_model(model: Any, export: Export, run: Run) -> Path:
    """Write the model as safetensors and JSON, and as ONNX where that can be."""
    from ...core.source import source_digest
    from ...inference.export import export_classifier

    made_of = {"model": model.facts_, "onnx": export.onnx, "head": model.head_.linear.weight}
    made_of["source"] = source_digest("inference.export")
    build = partial(export_classifier, model, onnx=export.onnx)
    return run.outputs("exported").built("model", made_of, build)


def write_model_card(exported: Path, summary: pd.DataFrame) -> str:
    """Write what the model is, how it was made, how good it is and how to load it."""
    from ...inference import load_classifier
    from ...inference.export import read_onnx_facts
    from ...reporting.model_card import model_card

    return model_card(load_classifier(exported), read_onnx_facts(exported), summary=summary)
