"""Wiring of UnFuSeD on one task; the task is the namespace."""

from kedro.pipeline import Pipeline

from ..described_node import DescribedNode as Node
from . import nodes


def create_pipeline(task: str, teacher: str) -> Pipeline:
    """Return the pipeline from a teacher to a task's students.

    Args:
        task: Name of the task.
        teacher: Name of the method whose encoders cluster the task's audio.
    """
    data = ["log_mels", "manifest", "splits"]
    settings = ["params:evaluation", "params:encoder", "params:run"]
    template = [
        Node(
            nodes.cluster_pseudo_labels,
            [
                *("clustering_workspace", "teachers", *data),
                *("params:pseudo_labels", "params:evaluation", "params:run"),
            ],
            ["pseudo_labels", "pseudo_label_quality", "cluster_features"],
            name="cluster_pseudo_labels",
        ),
        Node(
            nodes.distil_students,
            [
                *("student_workspace", "teachers", "pseudo_labels", *data),
                *("params:pseudo_labels", "params:distillation", *settings),
            ],
            ["students", "student_history"],
            name="distil_students",
        ),
    ]
    of_task = Pipeline(
        template,
        namespace=task,
        inputs={"teachers": f"{teacher}.encoders"},
        parameters={
            "params:pseudo_labels": "params:unfused.pseudo_labels",
            "params:distillation": "params:unfused.distillation",
            **{name: name for name in settings},
        },
        tags=["modelling", "unfused"],
    )
    return Pipeline(of_task, namespace="unfused", prefix_datasets_with_namespace=False)
