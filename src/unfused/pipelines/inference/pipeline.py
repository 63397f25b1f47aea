"""Wiring of what is done with a trained model: keep it, use it on new audio, pass it on."""

from kedro.pipeline import Pipeline

from ..node import node, stage
from . import nodes


def create_model(task: str) -> Pipeline:
    """Return the pipeline from a task's scores to the model that is kept."""
    scores = [f"{task}.results", f"{task}.predictions", "params:model", f"params:tasks.{task}"]
    names = ("embeddings", "networks", "corpus")
    given = ["chosen_model", *(f"{task}.{name}" for name in names)]
    chosen = node(nodes.choose_model, scores, "chosen_model")
    fitted = node(nodes.fit_model, [*given, "params:run"], "model")
    return stage("inference", [chosen, fitted], "modelling")


def create_classify() -> Pipeline:
    """Return the pipeline from new audio to predictions by the model."""
    scanned = ["new_audio.scanned_audio", "new_audio.unreadable_audio"]
    names = ("predictions", "embeddings", "rejected_audio", "label_tracks")
    made = [f"new_audio.{name}" for name in names]
    given = ["model", *scanned, "params:classify", "params:run"]
    scan = node(nodes.scan_new_audio, "params:classify", scanned)
    return stage("inference", [scan, node(nodes.classify_audio, given, made)], "classify")


def create_label_next() -> Pipeline:
    """Return the pipeline from what was classified last to the clips that are worth a label."""
    heard = [f"new_audio.{name}" for name in ("predictions", "embeddings", "scanned_audio")]
    chosen, how = "new_audio.label_next", "params:label_next"
    shown = ["model", chosen, "new_audio.scanned_audio", how]
    choose = node(nodes.choose_clips_to_label, ["model", *heard, how], chosen)
    page = node(nodes.draw_label_page, shown, "new_audio.label_page")
    return stage("inference", [choose, page], "label_next")


def create_export() -> Pipeline:
    """Return the pipeline from the model to files for others."""
    export = node(nodes.export_model, ["model", "params:export", "params:run"], "exported_model")
    card = node(nodes.write_model_card, ["exported_model", "summary"], "model_card")
    return stage("inference", [export, card], "export")
