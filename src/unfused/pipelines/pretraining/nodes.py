"""Pre-training: one encoder per seed and fold."""

from pathlib import Path
from typing import Any

import pandas as pd

from ...params import EncoderParams, MethodParams, Run


def pretrain_encoders(
    corpus: Any, centroids: pd.DataFrame, method: MethodParams, encoder: EncoderParams, run: Run
) -> tuple[Any, pd.DataFrame]:
    """Pre-train an encoder on audio without labels, by this self-supervised method.

    One encoder for every seed and fold; finished ones are reused, an unfinished one goes on.
    """
    from ...core.repeats import repeats
    from ...core.source import source_digest
    from ...encoders.collection import EncoderCollection
    from ...tasks.training_set import TrainingSet
    from ...training.history import load_history
    from ...training.pretraining import pretrain

    recipe, folders, histories = method_recipe(method, encoder), {}, []
    source = source_digest("training.pretraining", f"methods.{method.name}", "encoders")
    for repeat in repeats(run.seeds, corpus.folds):
        clips, mixed = (
            corpus.for_training(repeat.fold),
            k_mix_centroids(method, centroids, repeat.fold),
        )
        data = TrainingSet(corpus.store, clips.clips, *clips.statistics, *mixed)
        made_of = {"recipe": recipe, "repeat": repeat, "corpus": clips.mark, "k_mix": mixed}

        def build(folder: Path, data: Any = data, repeat: Any = repeat) -> None:
            how = {**repeat._asdict(), "device": run.device, "processes": run.processes}
            pretrain(folder, data, recipe, **how)

        outputs = run.outputs(method.name)
        folder = outputs.built(repeat.name, {**made_of, "source": source}, build)
        folders[repeat.name] = folder
        histories.append(load_history(folder, **repeat._asdict()))
    return EncoderCollection(folders), pd.concat(histories, ignore_index=True)


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
