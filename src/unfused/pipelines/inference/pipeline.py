"""Wiring of classify and export: a trained model from the last run, or a stored one."""

from kedro.pipeline import Pipeline

from ..described_node import DescribedNode as Node
from . import nodes


def create_classify(task: str, encoders: str | None, *, stored: bool) -> Pipeline:
    """Return the pipeline from new audio to predictions.

    Args:
        task: Whose labels are predicted.
        encoders: Dataset with the encoder; None: a network that was trained end to end.
        stored: Whether a stored classifier takes the place of both.
    """
    heard = [
        Node(
            nodes.scan_new_audio,
            "params:classify",
            ["new_audio.scanned_audio", "new_audio.unreadable_audio"],
            name="scan_new_audio",
        ),
        Node(
            nodes.extract_new_audio,
            [
                *("new_audio.log_mel_workspace", "classifier", "new_audio.scanned_audio"),
                *("new_audio.unreadable_audio", "params:extraction", "params:run"),
            ],
            ["new_audio.log_mels", "new_audio.manifest", "new_audio.rejected_audio"],
            name="extract_new_audio",
        ),
        Node(
            nodes.classify_audio,
            [
                *("classifier", "new_audio.log_mels", "new_audio.manifest"),
                *("new_audio.rejected_audio", "params:classify", "params:run"),
            ],
            ["new_audio.predictions", "new_audio.embeddings"],
            name="classify_audio",
        ),
    ]
    return _stage([_classifier(task, encoders, stored=stored), *heard], "classify")


def create_export(task: str, encoders: str | None, *, stored: bool) -> Pipeline:
    """Return the pipeline from a trained model to files for others; arguments as for classify."""
    described = [] if stored else ["study", "summary"]
    passed_on = [
        Node(
            nodes.export_model,
            ["exported_model_workspace", "classifier", "params:export"],
            "exported_model",
            name="export_model",
        ),
        Node(
            nodes.write_model_card,
            ["exported_model_workspace", "exported_model", *described],
            "model_card",
            name="write_model_card",
        ),
    ]
    return _stage([_classifier(task, encoders, stored=stored), *passed_on], "export")


def _classifier(task: str, encoders: str | None, *, stored: bool) -> Node:
    """Return the node that makes or finds the classifier."""
    if stored:
        return Node(nodes.open_classifier, "params:model", "classifier", name="open_classifier")
    if encoders is None:
        trainings = [f"{task}.supervised_workspace", "params:model"]
        return Node(nodes.open_network, trainings, "classifier", name="open_network")
    given = ["classifier_workspace", "log_mels", "manifest", "splits"]
    return Node(
        nodes.fit_classifier,
        [
            encoders,
            *(f"{task}.{name}" for name in given),
            *("params:model", "params:evaluation", "params:run"),
        ],
        "classifier",
        name="fit_classifier",
    )


def _stage(made: list[Node], name: str) -> Pipeline:
    return Pipeline(
        made, namespace=name, prefix_datasets_with_namespace=False, tags=["inference", name]
    )
