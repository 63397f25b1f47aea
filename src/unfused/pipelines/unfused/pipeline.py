"""Wiring of UnFuSeD on one task; the task is the namespace."""

from kedro.pipeline import Pipeline

from ..node import node, stage
from . import nodes


def create_pipeline(task: str, teacher: str) -> Pipeline:
    """Return the pipeline from a teacher to a task's students.

    Args:
        task: Name of the task in the configuration.
        teacher: Dataset or parameters of what clusters the task's audio.
    """
    shared = ["params:encoder", "params:run"]
    outside = teacher.startswith("params:")
    whose = "params:teacher" if outside else "teachers"
    of_task = Pipeline(
        [
            node(
                nodes.cluster_pseudo_labels,
                [whose, "corpus", "params:pseudo_labels", "params:evaluation", "params:run"],
                ["pseudo_labels", "pseudo_label_quality", "cluster_features"],
            ),
            node(
                nodes.distil_students,
                [whose, "pseudo_labels", "corpus", "params:unfused", *shared],
                ["students", "student_history"],
            ),
        ],
        namespace=task,
        inputs={} if outside else {whose: teacher},
        parameters={
            **({whose: teacher} if outside else {}),
            "params:pseudo_labels": "params:unfused.pseudo_labels",
            **{name: name for name in ("params:evaluation", "params:unfused", *shared)},
        },
        tags=["modelling", "unfused"],
    )
    return stage("unfused", of_task)
