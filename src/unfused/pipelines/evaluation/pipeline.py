"""Wiring of evaluation on one task; the task is the namespace."""

from collections.abc import Sequence

from kedro.pipeline import Pipeline

from ..node import node, stage
from . import nodes


def create_pipeline(task: str, methods: Sequence[str], *, few_labels: bool = False) -> Pipeline:
    """Return the pipeline from encoders to result rows.

    Each method's encoders are an input of their own: Kedro then runs the methods that are compared.
    """
    encoders = {method: f"{method}.encoders" for method in methods}
    settings = ("evaluation", "encoder", "run")
    given = {name: name for name in ("corpus", "students")}
    given |= {name: f"params:{name}" for name in settings} | encoders
    how = ["params:evaluation", "params:run"]
    embedded = ["candidates", "embeddings", "corpus", *how]
    frozen = ["frozen_results", "frozen_predictions"]
    supervised = ["supervised_results", "supervised_predictions"]
    trained = [*supervised, "supervised_history", "networks"]
    nodes_ = [
        node(nodes.list_candidates, given, "candidates"),
        node(nodes.embed_clips, ["candidates", "corpus", "params:run"], "embeddings"),
        node(nodes.probe_encoders, embedded, frozen),
        node(nodes.fine_tune_encoders, ["candidates", "corpus", *how], trained),
        node(nodes.collect_results, [*frozen, *supervised], ["results", "predictions"]),
    ]
    if few_labels:
        nodes_.append(node(nodes.measure_label_efficiency, embedded, "label_efficiency"))
    of_task = Pipeline(
        nodes_,
        namespace=task,
        inputs=set(encoders.values()),
        parameters={f"params:{name}" for name in settings},
        tags=["modelling", "evaluation"],
    )
    return stage("evaluation", of_task)
