"""Wiring of evaluation on one task; the task is the namespace."""

from collections.abc import Sequence

from kedro.pipeline import Pipeline

from ..described_node import DescribedNode as Node
from . import nodes

DATA = {"store": "log_mels", "manifest": "manifest", "splits": "splits"}
SETTINGS = ("evaluation", "distillation", "encoder", "run")


def create_pipeline(
    task: str, methods: Sequence[str], *, students: bool = True, few_labels: bool = False
) -> Pipeline:
    """Return the pipeline from encoders to result rows.

    Args:
        task: Name of the task.
        methods: Names of the methods whose encoders are evaluated.
        students: Whether the task's UnFuSeD students are evaluated too.
        few_labels: Whether label efficiency is measured.
    """
    encoders = {method: f"{method}.encoders" for method in methods}
    given = {
        **DATA,
        **{name: f"params:{name}" for name in SETTINGS},
        **({"students": "students"} if students else {}),
        **encoders,
    }
    of_task = Pipeline(
        [*_nodes(given), *([_few_labels(given)] if few_labels else [])],
        namespace=task,
        inputs=set(encoders.values()),
        parameters={
            **{f"params:{name}": f"params:{name}" for name in SETTINGS},
            "params:distillation": "params:unfused.distillation",
        },
        tags=["modelling", "evaluation"],
    )
    return Pipeline(of_task, namespace="evaluation", prefix_datasets_with_namespace=False)


def create_record(tasks: Sequence[str]) -> Pipeline:
    """Return the pipeline that notes what a study was about, for those who use its models.

    Args:
        tasks: Names of the tasks.
    """
    node = Node(
        nodes.record_study,
        {
            "tasks": "params:tasks",
            "teacher": "params:teacher",
            **{task: f"{task}.results" for task in tasks},
        },
        "study",
        name="record_study",
        tags=["modelling", "evaluation"],
    )
    return Pipeline([node], namespace="evaluation", prefix_datasets_with_namespace=False)


def _nodes(given: dict[str, str]) -> list[Node]:
    frozen = ["frozen_results", "frozen_predictions"]
    supervised = ["supervised_results", "supervised_predictions"]
    embedded = {"embeddings": "embeddings", **given}
    return [
        Node(
            nodes.embed_task,
            {"workspace": "embedding_workspace", **given},
            "embeddings",
            name="embed_task",
        ),
        Node(
            nodes.evaluate_frozen_encoders,
            {"workspace": "probing_workspace", **embedded},
            frozen,
            name="evaluate_frozen_encoders",
        ),
        Node(
            nodes.train_supervised,
            {"workspace": "supervised_workspace", **given},
            [*supervised, "supervised_history"],
            name="train_supervised",
        ),
        Node(
            nodes.collect_task_results,
            [*frozen, *supervised],
            ["results", "predictions"],
            name="collect_task_results",
        ),
    ]


def _few_labels(given: dict[str, str]) -> Node:
    return Node(
        nodes.measure_label_efficiency,
        {"workspace": "label_efficiency_workspace", "embeddings": "embeddings", **given},
        "label_efficiency",
        name="measure_label_efficiency",
    )
