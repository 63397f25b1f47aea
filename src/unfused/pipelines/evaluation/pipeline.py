"""Wiring of evaluation on one task; the task is the namespace."""

from functools import partial

from kedro.pipeline import Pipeline

from ...params import Study
from ..node import node, stage
from . import nodes


def create_pipeline(task: str, study: Study) -> Pipeline:
    """Return the pipeline from encoders to result rows.

    Each method's encoders are an input of their own: Kedro then runs the methods that are compared.
    """
    encoders = {method: f"{method}.encoders" for method in study.compared}
    outside = {name: f"params:teachers.{name}" for name in study.outside}
    settings = [f"params:{name}" for name in ("evaluation", "encoder", "run")]
    given = {name.removeprefix("params:"): name for name in ["corpus", "students", *settings]}
    given |= encoders | outside
    how = ["params:evaluation", "params:run"]
    embedded = ["embeddings", "corpus", *how]
    frozen = ["frozen_results", "frozen_predictions"]
    supervised = ["supervised_results", "supervised_predictions"]
    trained = [*supervised, "supervised_history", "networks"]
    nodes_ = [
        node(partial(nodes.list_candidates, teacher=study.teacher), given, "candidates"),
        node(nodes.embed_clips, ["candidates", "corpus", "params:run"], "embeddings"),
        node(nodes.probe_encoders, embedded, frozen),
        node(nodes.fine_tune_encoders, ["candidates", "corpus", *how], trained),
        node(nodes.collect_results, [*frozen, *supervised], ["results", "predictions"]),
    ]
    if study.few_labels:
        nodes_.append(node(nodes.measure_label_efficiency, embedded, "label_efficiency"))
    of_task = Pipeline(
        nodes_,
        namespace=task,
        inputs=set(encoders.values()),
        parameters={*settings, *outside.values()},
        tags=["modelling", "evaluation"],
    )
    return stage("evaluation", of_task)
