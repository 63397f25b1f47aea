"""A trained model on new audio, and as files for others."""

import logging
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from ...core.errors import NotFoundError
from ...core.source import source_digest
from ...params import Classify, Export, LabelNext, Run, Task, TrainedModel
from ..data_engineering.nodes import scan_pool_audio
from ..evaluation.nodes import truth

log = logging.getLogger(__name__)


def choose_model(
    results: pd.DataFrame, predictions: pd.DataFrame, model: TrainedModel, source: Task
) -> dict[str, Any]:
    """Choose the classifier to use: the best on validation clips, or the one that is asked for."""
    from ...probes.choose_model import choose_model as chosen

    asked = {name: value for name, value in model.asked().items() if value is not None}
    rows = results[(results[list(asked)] == pd.Series(asked, dtype=object)).all(axis=1)]
    if rows.empty:
        known = results[["encoder", "source", "read_out", "protocol"]].drop_duplicates()
        raise NotFoundError(
            f"no classifier with {asked}: choose model.encoder, model.source, model.read_out and "
            f"model.protocol among {known.to_dict('records')}"
        )
    found = chosen(rows, predictions, plain_from=results, controls=model.source is not None)
    log.info("%(title)s: %(why)s", found)
    return {**found, "licence": source.licence}


def fit_model(
    chosen: dict[str, Any], embeddings: list, networks: dict[str, Path], corpus: Any, run: Run
) -> Path:
    """Fit the chosen classifier on all labelled clips; a trained network is taken as it is."""
    from ...inference.classifier import Classifier, load_classifier
    from ...probes.candidates import vectors_in
    from ...probes.choose_model import candidate_of

    frozen = candidate_of(chosen, embeddings)
    network = networks.get(f"{chosen['encoder']}-seed{chosen['seed']}-fold{chosen['fold']}", Path())

    def build(folder: Path) -> None:
        if frozen is not None:
            vectors = vectors_in(frozen, corpus.for_probes)  # None: labels came since
            fitted = Classifier(frozen.load(), device=run.device).fit(corpus, vectors)
        else:
            fitted = load_classifier(network)
        fitted.facts_.update({**chosen, "task": corpus.name, **_heard(fitted, corpus)})
        fitted.save(folder)

    made_of = {**truth(corpus), "chosen": chosen, "source": source_digest("inference.classifier")}
    made_of["encoder"] = network.parent.name if frozen is None else frozen.digest
    return run.outputs(corpus.name, "classifiers").built(chosen["encoder"], made_of, build)


def _heard(model: Any, corpus: Any) -> dict[str, int]:
    """Return on how many clips an encoder was trained, and how many of them have no label here."""
    clips = model.embedder_.trained_on["clip_id"].drop_duplicates()
    unlabelled = ~clips.isin(corpus.labelled.clips["clip_id"])
    return {"n_trained_on": len(clips), "n_unlabelled": int(unlabelled.sum())}


def scan_new_audio(classify: Classify) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read the headers of new audio; list what can be used and what cannot, with reasons."""
    return scan_pool_audio(classify)


def classify_audio(
    model: Any, scanned: pd.DataFrame, unreadable: pd.DataFrame, classify: Classify, run: Run
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, dict[str, str]]:
    """Embed and classify new audio, long files segment by segment."""
    from ...inference.label_tracks import label_tracks

    how = classify.model_dump(include={"segment_seconds", "hop_seconds", "top_k"})
    found = model.set_params(device=run.device).classify(scanned, **how)
    predictions = found.predictions
    usual = predictions["label"].replace("", "(none)").value_counts()
    said = [f"{count} x {label}" for label, count in usual.head(5).items()]
    said += [f"{usual[5:].sum()} x others"] * (len(usual) > 5)
    damaged = found.rejected.assign(stage="decode")
    rejected = pd.concat([unreadable, damaged], ignore_index=True)
    counts = (predictions["path"].nunique(), len(predictions), ", ".join(said), len(rejected))
    log.info("%d files, %d segments: %s; %d rejected", *counts)
    found.embeddings.attrs["model"] = model.digest_
    tracks = label_tracks(predictions, classify.label_tracks) if classify.label_tracks else {}
    return predictions, found.embeddings, rejected, tracks


def choose_clips_to_label(
    model: Any,
    predictions: pd.DataFrame,
    embeddings: pd.DataFrame,
    scanned: pd.DataFrame,
    label_next: LabelNext,
) -> pd.DataFrame:
    """Choose the clips that are most worth a label, or those most like another one."""
    from ...inference.search import clips_to_label

    whole = (scanned["offset"] == 0) & ~scanned["path"].duplicated(keep=False)
    seconds = scanned[whole].set_index("path")["duration"]
    how = label_next.model_dump(exclude={"labels"})
    known = None if label_next.labels is None else labelled_places(label_next.labels, scanned)
    return clips_to_label(model, predictions, embeddings, seconds, known=known, **how)


def draw_label_page(
    model: Any, clips: pd.DataFrame, scanned: pd.DataFrame, label_next: LabelNext
) -> str:
    """Make a page that plays the chosen clips and takes labels for them."""
    from ...reporting.page import label_page

    files = scanned.drop_duplicates("path").set_index("path").loc[clips["path"]].reset_index()
    found = clips.assign(
        seconds=clips["end"].fillna(files["duration"]), sample_rate=files["sample_rate"],
        words=clips["suggestion"].astype(str) + ", else " + clips["second"].astype(str),
    )  # fmt: skip
    title, note = "Label next", "The clips that the classifier would learn most from."
    if label_next.like is not None:
        title, note = "Find similar", f"The clips most like {Path(label_next.like).name}."
    return label_page(found, model.classes_.tolist(), title=title, note=note)


def labelled_places(table: str, scanned: pd.DataFrame) -> pd.DataFrame:
    """Return path and start in seconds of the clips that a table of labels has."""
    from ...data.sources import list_audio

    known = list_audio(Path(table), "table", None)
    rates = known["path"].map(scanned.drop_duplicates("path").set_index("path")["sample_rate"])
    starts = pd.to_numeric(known["start"].str.replace(",", "."))
    starts = starts.fillna(pd.to_numeric(known["offset"]) / rates).fillna(0.0)
    return pd.DataFrame({"path": known["path"], "start": starts})


def export_model(model: Any, export: Export, run: Run) -> Path:
    """Write the model as safetensors and JSON, and as ONNX where that can be."""
    from ...inference.export import export_classifier
    from ...inference.onnx_file import missing_packages

    onnx = missing_packages() if export.onnx else None
    made_of = {"model": model.facts_, "onnx": onnx, "head": model.head_.linear.weight}
    made_of["source"] = source_digest("inference.export")
    build = partial(export_classifier, model, onnx=export.onnx)
    return run.outputs("exported").built("model", made_of, build)


def write_model_card(exported: Path, summary: pd.DataFrame) -> str:
    """Write what the model is, how it was made, how good it is and how to load it."""
    from ...inference import load_classifier
    from ...inference.export import read_onnx_facts
    from ...reporting.model_card import model_card

    return model_card(
        load_classifier(exported, trust_code=True), read_onnx_facts(exported), summary=summary
    )
