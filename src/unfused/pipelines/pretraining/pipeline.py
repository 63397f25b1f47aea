"""Wiring of one method's pre-training; the method is the namespace."""

from kedro.pipeline import Pipeline

from ..node import node, stage
from . import nodes


def create_pipeline(method: str) -> Pipeline:
    """Return the pre-training pipeline of one self-supervised method; its name is configuration."""
    shared, how = ["pretraining_corpus", "kmix_centroids"], ["params:encoder", "params:run"]
    given = [*shared, "params:method", *how]
    pretraining = Pipeline(
        [node(nodes.pretrain_encoders, given, ["encoders", "history"])],
        namespace=method,
        inputs=set(shared),
        parameters={"params:method": f"params:methods.{method}", **{name: name for name in how}},
        tags=["modelling", method],
    )
    return stage("pretraining", pretraining)
