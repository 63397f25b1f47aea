"""Pre-training: one encoder per seed and fold."""

from typing import Any

import pandas as pd

from ...core.outputs import OutputFolder
from ...core.workspace import Workspace
from ...params import EncoderParams, MethodParams, Run


def pretrain_encoders(
    workspace: Workspace,
    clips: pd.DataFrame,
    centroids: pd.DataFrame,
    method: MethodParams,
    encoder: EncoderParams,
    run: Run,
    *stores: Any,
) -> tuple[Any, pd.DataFrame]:
    """Pre-train an encoder on audio without labels, by this self-supervised method.

    One encoder for every seed and fold; finished ones are reused, an unfinished one goes on.
    """
    from ...core.repeats import repeats
    from ...data.store import LogMelStore
    from ...encoders.collection import EncoderCollection
    from ...tasks.corpus import Corpus
    from ...training.pretraining import estimator
    from ...views.k_mix_centroids import centroids_of

    store, histories = LogMelStore.union(stores), []
    folders: dict[str, Any] = {}
    outputs = OutputFolder(workspace.path, fresh=run.fresh)
    for repeat in repeats(run.seeds, clips["fold"]):
        of_fold = clips[clips["fold"] == repeat.fold].drop(columns="fold")
        model = estimator(method.name)(
            **parameters_of(method, encoder), seed=repeat.seed,
            device=run.device, processes=run.processes, folder=outputs,
        )  # fmt: skip
        corpus = Corpus.of(store, of_fold, name=f"fold {repeat.fold}")
        model.fit(corpus, centroids_of(centroids, repeat.fold))
        folders[repeat.name] = model.folder_
        histories.append(model.history_.assign(seed=repeat.seed, fold=repeat.fold))
    return EncoderCollection(folders), pd.concat(histories, ignore_index=True)


def parameters_of(method: MethodParams, encoder: EncoderParams) -> dict[str, Any]:
    """Return a method's configuration as the parameters of its estimator."""
    from ...training.pretraining import flat

    architecture = method.encoder or encoder
    return {
        **method.settings,
        **flat(method.training),
        "encoder": architecture.name,
        "encoder_settings": architecture.settings,
        "views": method.views.model_dump(),
    }
