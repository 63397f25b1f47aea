"""Which clips an encoder may be pre-trained on: never one that any task validates or tests on."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from ..core.errors import UserError
from ..core.repeats import matching_fold
from ..data.manifest import AUDIO_KEY, same_audio

TRAINABLE = ("train", "unlabelled")
NO_TASK = "no task"
"""``made_by`` of the splits of a corpus that is there for pre-training only."""


def training_clips(splits: pd.DataFrame, fold: int, *, transductive: bool = False) -> pd.DataFrame:
    """Return the clips whose audio may be trained on without labels in one fold.

    Args:
        splits: A task's splits, columns clip_id, digest, offset, frames, fold, split.
        fold: The held-out fold.
        transductive: Also take the audio (never the labels) of validation and test clips.

    Returns:
        The rows of ``splits`` for these clips.
    """
    of_fold = splits[splits["fold"] == fold]
    return of_fold if transductive else of_fold[of_fold["split"].isin(TRAINABLE)]


def select_pretraining_clips(
    splits: Mapping[str, pd.DataFrame], *, transductive: bool = False, task_audio: bool = True
) -> pd.DataFrame:
    """Return the pre-training clips of every fold, over all corpora of the study.

    Audio that some task holds out (the same part of the same bytes, under whatever name and in
    whatever corpus) is left out of that fold; the same clip in two corpora is taken once.

    Args:
        splits: Corpus -> its splits, columns clip_id, digest, offset, frames, fold, split, made_by.
        transductive: Keep held-out audio; encoders made this way are marked.
        task_audio: Take the tasks' training audio too. Without it there is one fold, 0, and what
            any task holds out in any of its folds is left out of it.

    Returns:
        Columns fold, corpus, clip_id, digest, offset and frames.

    Raises:
        UserError: A fold has no clip left, or there is no pool to take the place of task audio.
    """
    sources, folds = set(splits), {0}
    if task_audio:  # a fixed split or a pool, which has fold 0 alone, adds no fold
        given = [set(table["fold"].unique()) for table in splits.values()]
        folds = set().union(*(found for found in given if found != {0})) or {0}
    else:
        sources = {name for name, table in splits.items() if (table["made_by"] == NO_TASK).all()}
    if not sources:
        raise UserError(
            "pretraining.task_audio=false leaves nothing to pre-train on: name unlabelled audio "
            "(parameter unlabelled=<folder>, or an entry under pools)"
        )
    chosen = []
    for fold in sorted(int(fold) for fold in folds):
        held_out, candidates = [], []
        for corpus, table in splits.items():
            if task_audio:
                table = table[table["fold"] == matching_fold(fold, table["fold"].unique())]
            trainable = transductive | table["split"].isin(TRAINABLE)
            held_out.append(table[~trainable])
            if corpus in sources:
                candidates.append(table[trainable].assign(corpus=corpus, fold=fold))
        clips = pd.concat(candidates, ignore_index=True)
        clips = clips[~same_audio(clips, pd.concat(held_out))].drop_duplicates("clip_id")
        if clips.empty:
            raise UserError(
                f"fold {fold} leaves no clip to pre-train on; every clip is held out by some task. "
                "Add unlabelled audio (parameter unlabelled=<folder>) or training clips"
            )
        chosen.append(clips)
    return pd.concat(chosen, ignore_index=True)[["fold", "corpus", *AUDIO_KEY]]
