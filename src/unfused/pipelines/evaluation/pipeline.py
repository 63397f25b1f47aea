"""Wiring of evaluation on one task; the task is the namespace."""

from kedro.pipeline import Node, Pipeline

from . import nodes


def create_pipeline(task: str, teacher: str) -> Pipeline:
    """Return the pipeline from encoders to result rows.

    Args:
        task: Name of the task.
        teacher: Name of the method that made the pseudo-labels.
    """
    encoders = ["teachers", "students", "log_mels", "manifest", "splits"]
    settings = ["params:evaluation", "params:distillation", "params:encoder", "params:run"]
    linear, supervised = (
        ["linear_results", "linear_predictions"],
        [
            "supervised_results",
            "supervised_predictions",
        ],
    )
    template = [
        Node(
            nodes.evaluate_linear_probes,
            ["probing_workspace", *encoders, *settings],
            linear,
            name="evaluate_linear_probes",
        ),
        Node(
            nodes.train_supervised,
            ["supervised_workspace", *encoders, *settings],
            [*supervised, "supervised_history"],
            name="train_supervised",
        ),
        Node(
            nodes.collect_task_results,
            [*linear, *supervised],
            ["results", "predictions"],
            name="collect_task_results",
        ),
    ]
    of_task = Pipeline(
        template,
        namespace=task,
        inputs={"teachers": f"{teacher}.encoders"},
        parameters={
            **{name: name for name in settings},
            "params:distillation": "params:unfused.distillation",
        },
        tags=["modelling", "evaluation"],
    )
    return Pipeline(of_task, namespace="evaluation", prefix_datasets_with_namespace=False)
