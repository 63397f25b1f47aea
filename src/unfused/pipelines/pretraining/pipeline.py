"""Wiring of one method's pre-training; the method is the namespace."""

from kedro.pipeline import Pipeline

from ..node import node
from . import nodes


def create_pipeline(method: str) -> Pipeline:
    """Return the pre-training pipeline of one self-supervised method; its name is configuration."""
    shared = ["pretraining_corpus", "kmix_centroids"]
    pretraining = Pipeline(
        [
            node(
                nodes.pretrain_encoders,
                [*shared, "params:method", "params:encoder", "params:run"],
                ["encoders", "history"],
            )
        ],
        namespace=method,
        inputs=set(shared),
        parameters={
            "params:method": f"params:methods.{method}",
            "params:encoder": "params:encoder",
            "params:run": "params:run",
        },
        tags=["modelling", method],
    )
    return Pipeline(pretraining, namespace="pretraining", prefix_datasets_with_namespace=False)
