"""Wiring of one method's pre-training; the method is the namespace."""

from kedro.pipeline import Pipeline

from ...params import Study
from ..node import node, stage
from . import nodes


def create_pipeline(method: str, study: Study) -> Pipeline:
    """Return the pre-training pipeline of one self-supervised method; its name is configuration."""
    how, settings = ["params:encoder", "params:run"], {"params:method": f"params:methods.{method}"}
    made, shared = ["encoders", "history"], ["pretraining_corpus", "kmix_centroids"]
    pretrain = node(nodes.pretrain_encoders, [*shared, "params:method", *how], made)
    if method in study.lessons:
        shared = ["pretraining_corpus"]
        given = [*shared, "params:outside", "params:method", *how]
        pretrain = node(nodes.distil_encoders, given, made)
        settings["params:outside"] = f"params:teachers.{study.lessons[method]}"
    pretraining = Pipeline(
        [pretrain],
        namespace=method,
        inputs=set(shared),
        parameters={**settings, **{name: name for name in how}},
        tags=["modelling", method],
    )
    return stage("pretraining", pretraining)
