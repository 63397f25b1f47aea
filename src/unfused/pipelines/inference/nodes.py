"""A trained model on new audio, and as files for others."""

import logging
from pathlib import Path
from typing import Any

import pandas as pd

from ...core.workspace import Workspace, fingerprint
from ...params import Classify, Evaluation, Export, Extraction, Run, TrainedModel
from ..data_engineering.nodes import extracted, scan_pool_audio
from ..evaluation.nodes import TRUTH

log = logging.getLogger(__name__)


def fit_classifier(
    encoders: Any,
    workspace: Workspace,
    store: Any,
    manifest: pd.DataFrame,
    splits: pd.DataFrame,
    model: TrainedModel,
    evaluation: Evaluation,
    run: Run,
) -> Path:
    """Fit a linear probe on the chosen encoder and the task's labels, once; nothing is trained."""
    from ...inference.fitting import fit_head
    from ...probes.stored_classifier import save_classifier
    from ...tasks.task_data import TaskData

    task, choice = TaskData(store, manifest, splits), model_choice(model)
    name, repeat = choice.encoder_name(encoders)
    trained = encoders.load(name)
    if model.cut is not None:
        trained.encoder = trained.encoder.truncated(model.cut)
    cut, fold, embedding = trained.encoder.cut, choice.task_fold(task, repeat), evaluation.embedding
    known = encoders.digest(name), cut, fold, embedding, splits, manifest[TRUTH], store.front_end
    folder = "-".join(filter(None, [model.encoder, choice.known_source, cut, repeat.name]))
    piece = workspace.piece(folder, fingerprint("classifier 2", *known), fresh=run.fresh)
    if not piece.finished:
        facts = {"task": workspace.path.parent.name, **choice.facts(repeat), "cut": cut}
        facts |= trained_on_facts(encoders.trained_on(name), manifest)
        head = fit_head(trained, task, fold, embedding=embedding, device=run.device, **facts)
        save_classifier(piece.path, trained, head)
        piece.finish()
    return piece.path


def trained_on_facts(trained_on: pd.DataFrame, manifest: pd.DataFrame) -> dict[str, int]:
    """Return how many clips an encoder was trained on, and how many of them have no label."""
    labelled = manifest.loc[manifest["label"].notna(), "clip_id"]
    unlabelled = ~trained_on["clip_id"].isin(labelled)
    return {"n_trained_on": len(trained_on), "n_unlabelled": int(unlabelled.sum())}


def open_network(workspace: Workspace, model: TrainedModel) -> Path:
    """Find the chosen network among those that the run trained end to end."""
    return model_choice(model).network(workspace.path)


def open_classifier(model: TrainedModel) -> Path:
    """Find a stored classifier."""
    return Path(model.folder or "").expanduser().resolve()


def model_choice(model: TrainedModel) -> Any:
    """Return the library's description of a choice."""
    from ...inference.fitting import Choice

    return Choice(model.encoder, model.source, model.seed, model.fold)


def scan_new_audio(classify: Classify) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read the headers of new audio; list what can be used and what cannot, with reasons."""
    return scan_pool_audio(classify)


def extract_new_audio(
    workspace: Workspace,
    classifier: Any,
    scanned: pd.DataFrame,
    unreadable: pd.DataFrame,
    extraction: Extraction,
    run: Run,
) -> tuple[Any, pd.DataFrame, pd.DataFrame]:
    """Make log-mels of new audio with the front-end of the classifier's encoder."""
    front_end = classifier.encoder.log_mel_front_end
    return extracted(workspace, scanned, unreadable, front_end, extraction, run)


def classify_audio(
    classifier: Any,
    store: Any,
    manifest: pd.DataFrame,
    rejected: pd.DataFrame,
    classify: Classify,
    run: Run,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Embed and classify new audio, long files segment by segment."""
    from ...inference.new_audio import classify_store
    from ...inference.segments import Segmentation

    seconds = classify.segment_seconds or classifier.clip_seconds
    hop = classify.hop_seconds or seconds
    predictions, embeddings = classify_store(
        classifier,
        store,
        manifest,
        Segmentation(seconds, hop),
        top_k=classify.top_k,
        device=run.device,
    )
    usual = predictions["label"].replace("", "(none)").value_counts()
    said = [f"{count} x {label}" for label, count in usual.head(5).items()]
    said += [f"{usual[5:].sum()} x others"] * (len(usual) > 5)
    log.info(
        "%d files, %d segments of at most %g s: %s; %d rejected",
        manifest["path"].nunique(),
        len(predictions),
        seconds,
        ", ".join(said),
        len(rejected),
    )
    return predictions, embeddings


def export_model(workspace: Workspace, classifier: Any, export: Export) -> Path:
    """Write encoder and head as safetensors and JSON, and the encoder as ONNX where that can be."""
    from ...inference.export import export_classifier

    export_classifier(classifier, workspace.path, onnx=export.onnx)
    return workspace.path


def write_model_card(
    workspace: Workspace,
    classifier: Any,
    study: dict | None = None,
    summary: pd.DataFrame | None = None,
) -> str:
    """Write what the model is, how it was made, how good it is and how to load it."""
    from ...inference.export import read_onnx_facts
    from ...reporting.model_card import model_card

    return model_card(classifier, read_onnx_facts(workspace.path), study=study, summary=summary)
