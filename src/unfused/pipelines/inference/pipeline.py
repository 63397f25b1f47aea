"""Wiring of what is done with a trained model: keep it, use it on new audio, pass it on."""

from kedro.pipeline import Pipeline

from ..node import node
from . import nodes


def create_model(task: str, *, network: bool = False) -> Pipeline:
    """Return the pipeline from a task's encoders to the model that is kept.

    Args:
        task: Name of the task in the configuration.
        network: Whether it is a network that was trained end to end.
    """
    given = [f"{task}.candidates", f"{task}.corpus", "params:model", f"params:tasks.{task}"]
    fitted = node(nodes.fit_model, [*given, "params:run"], "model")
    taken = node(nodes.take_network, [f"{task}.networks", "params:model"], "model")
    return _stage([taken if network else fitted], "modelling")


def create_classify() -> Pipeline:
    """Return the pipeline from new audio to predictions by the model."""
    scanned = ["new_audio.scanned_audio", "new_audio.unreadable_audio"]
    made = ["new_audio.predictions", "new_audio.embeddings", "new_audio.rejected_audio"]
    return _stage(
        [
            node(nodes.scan_new_audio, "params:classify", scanned),
            node(nodes.classify_audio, ["model", *scanned, "params:classify", "params:run"], made),
        ],
        "classify",
    )


def create_export() -> Pipeline:
    """Return the pipeline from the model to files for others."""
    return _stage(
        [
            node(nodes.export_model, ["model", "params:export", "params:run"], "exported_model"),
            node(nodes.write_model_card, ["exported_model", "summary"], "model_card"),
        ],
        "export",
    )


def _stage(made: list, name: str) -> Pipeline:
    return Pipeline(made, namespace="inference", prefix_datasets_with_namespace=False, tags=[name])
