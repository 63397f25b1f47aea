"""Pre-training: one encoder per seed and fold."""

from collections.abc import Callable
from typing import Any

import pandas as pd

from ...core.repeats import Repeat, repeats
from ...params import EncoderParams, MethodParams, Run


def pretrain_encoders(
    corpus: Any, centroids: pd.DataFrame, method: MethodParams, encoder: EncoderParams, run: Run
) -> tuple[Any, pd.DataFrame]:
    """Pre-train an encoder on audio without labels, by this self-supervised method.

    One encoder for every seed and fold; finished ones are reused, an unfinished one goes on.
    """
    from ...training.pretraining import estimator
    from ...views.k_mix_centroids import centroids_of

    def fit(repeat: Repeat) -> tuple[Any, Any]:
        model = estimator(method.name)(
            **parameters_of(method, encoder, run, repeat), processes=run.processes
        )
        model.fit(corpus.for_training(repeat.fold), centroids_of(centroids, repeat.fold))
        return model.folder_, model.history_

    return _of_each(corpus, run, fit)


def distil_encoders(
    corpus: Any, outside: dict, method: MethodParams, encoder: EncoderParams, run: Run
) -> tuple[Any, pd.DataFrame]:
    """Pre-train an encoder that learns what an encoder from outside says of each clip (ours).

    One encoder for every seed and fold; finished ones are reused, an unfinished one goes on.
    """
    from ...distillation.unfused import UnFuSeD
    from ...encoders import create

    def fit(repeat: Repeat) -> tuple[Any, Any]:
        given = parameters_of(method, encoder, run, repeat)
        cut = create(given["encoder"], **given["encoder_settings"]).cut
        facts = {"source": given["teacher"], "fold": repeat.fold}
        model = UnFuSeD(**{**given, "teacher": outside, "targets": "embeddings", "cut": cut})
        model.fit(corpus.for_training(repeat.fold), facts=facts)
        assert model.folder_ is not None
        return model.folder_ / "full", model.history_

    return _of_each(corpus, run, fit)


def _of_each(
    corpus: Any, run: Run, fit: Callable[[Repeat], tuple[Any, Any]]
) -> tuple[Any, pd.DataFrame]:
    """Return the encoders and learning curves of every seed and fold."""
    from ...encoders.trained import EncoderCollection

    folders: dict[str, Any] = {}
    histories = []
    for repeat in repeats(run.seeds, corpus.folds):
        folders[repeat.name], history = fit(repeat)
        histories.append(history.assign(seed=repeat.seed, fold=repeat.fold))
    return EncoderCollection(folders), pd.concat(histories, ignore_index=True)


def parameters_of(
    method: MethodParams, encoder: EncoderParams, run: Run, repeat: Repeat
) -> dict[str, Any]:
    """Return a method's configuration as the parameters of its estimator."""
    from ...training.estimator import flat

    architecture, views = method.encoder or encoder, method.views.model_dump()
    own = {"encoder": architecture.name, "encoder_settings": architecture.settings, "views": views}
    where = {"seed": repeat.seed, "device": run.device, "folder": run.outputs(method.name)}
    return {**method.settings, **flat(method.training), **own, **where}
