"""Wiring of one method's pre-training; the method is the namespace."""

from collections.abc import Sequence

from kedro.pipeline import Pipeline

from ..described_node import DescribedNode as Node
from . import nodes


def create_pipeline(method: str, corpora: Sequence[str]) -> Pipeline:
    """Return the pre-training pipeline of one self-supervised method.

    Args:
        method: Its name in the configuration.
        corpora: Every corpus of the study; the clips to train on come from them.
    """
    stores = [f"{corpus}.log_mels" for corpus in corpora]
    shared = ["pretraining_clips", "kmix_centroids"]
    node = Node(
        nodes.pretrain_encoders,
        ["workspace", *shared, "params:method", "params:encoder", "params:run", *stores],
        ["encoders", "history"],
        name="pretrain_encoders",
    )
    pretraining = Pipeline(
        [node],
        namespace=method,
        inputs={*shared, *stores},
        parameters={
            "params:method": f"params:methods.{method}",
            "params:encoder": "params:encoder",
            "params:run": "params:run",
        },
        tags=["modelling", method],
    )
    return Pipeline(pretraining, namespace="pretraining", prefix_datasets_with_namespace=False)
