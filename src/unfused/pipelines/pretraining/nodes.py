"""Pre-training: one encoder per seed and fold."""

from typing import Any

import pandas as pd

from ...core.workspace import Workspace, fingerprint
from ...params import EncoderParams, MethodParams, Run


def pretrain_encoders(
    workspace: Workspace,
    clips: pd.DataFrame,
    statistics: dict,
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
    from ...tasks.training_set import TrainingSet
    from ...training.history import load_history
    from ...training.pretraining import pretrain

    store, recipe, histories = LogMelStore.union(stores), method_recipe(method, encoder), []
    study = repeats(run.seeds, clips["fold"])
    for repeat in study:
        of_fold = clips[clips["fold"] == repeat.fold].drop(columns="fold").reset_index(drop=True)
        level = statistics[str(repeat.fold)]
        mixed = k_mix_centroids(method, centroids, repeat.fold)
        data = TrainingSet(store, of_fold, level["mean"], level["std"], *mixed)
        mark = fingerprint("pretrain", recipe, repeat, of_fold["clip_id"], store.front_end, *mixed)
        piece = workspace.piece(repeat.name, mark, fresh=run.fresh)
        if not piece.finished:
            pretrain(
                piece.path, data, recipe, seed=repeat.seed, fold=repeat.fold,
                device=run.device, processes=run.processes,
            )  # fmt: skip
            piece.finish()
        histories.append(load_history(piece.path, seed=repeat.seed, fold=repeat.fold))
    encoders = EncoderCollection(workspace.path, tuple(repeat.name for repeat in study))
    return encoders, pd.concat(histories, ignore_index=True)


def k_mix_centroids(method: MethodParams, centroids: pd.DataFrame, fold: int) -> list[Any]:
    """Return the centroids of a fold if the method mixes by them: nothing else depends on them."""
    from ...views.k_mix_centroids import centroids_of

    return [centroids_of(centroids, fold)] if method.views.mixing == "k_mix" else []


def method_recipe(method: MethodParams, encoder: EncoderParams) -> Any:
    """Return the library's description of a method's training."""
    from ...training.pretraining import Recipe

    architecture = method.encoder or encoder
    return Recipe(
        encoder=architecture.name,
        encoder_settings=architecture.settings,
        training=method.training,
        method=method.name,
        method_settings=method.settings,
        views=method.views.model_dump(),
    )
