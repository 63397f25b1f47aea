"""Pre-training: one encoder per seed and fold."""

from typing import Any

import pandas as pd

from ...core.repeats import repeats
from ...params import EncoderParams, MethodParams, Run


def pretrain_encoders(
    corpus: Any, centroids: pd.DataFrame, method: MethodParams, encoder: EncoderParams, run: Run
) -> tuple[Any, pd.DataFrame]:
    """Pre-train an encoder on audio without labels, by this self-supervised method.

    One encoder for every seed and fold; finished ones are reused, an unfinished one goes on.
    """
    from ...encoders.trained import EncoderCollection
    from ...training.pretraining import estimator
    from ...views.k_mix_centroids import centroids_of

    folders: dict[str, Any] = {}
    histories = []
    for repeat in repeats(run.seeds, corpus.folds):
        model = estimator(method.name)(
            **parameters_of(method, encoder), seed=repeat.seed, device=run.device,
            processes=run.processes, folder=run.outputs(method.name),
        )  # fmt: skip
        model.fit(corpus.for_training(repeat.fold), centroids_of(centroids, repeat.fold))
        folders[repeat.name] = model.folder_
        histories.append(model.history_.assign(seed=repeat.seed, fold=repeat.fold))
    return EncoderCollection(folders), pd.concat(histories, ignore_index=True)


def parameters_of(method: MethodParams, encoder: EncoderParams) -> dict[str, Any]:
    """Return a method's configuration as the parameters of its estimator."""
    from ...training.estimator import flat

    architecture, views = method.encoder or encoder, method.views.model_dump()
    own = {"encoder": architecture.name, "encoder_settings": architecture.settings, "views": views}
    return {**method.settings, **flat(method.training), **own}
