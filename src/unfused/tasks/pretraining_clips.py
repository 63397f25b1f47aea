"""Which clips an encoder may be pre-trained on: never one that any task validates or tests on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pandas as pd

from ..core.errors import UserError
from ..core.repeats import matching_fold
from ..data.overlap import AUDIO_KEY, same_audio

TRAINABLE = ("train", "unlabelled")
NO_TASK = "no task"
"""``made_by`` of the splits of a corpus that is there for pre-training only."""
COLUMNS = ["fold", "corpus", *AUDIO_KEY]


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
        ValueError: A fold has no clip left, or there is no pool to take the place of task audio.
    """
    if not task_audio:
        return _pools_only(splits, transductive)
    folds = _study_folds(splits.values())
    chosen = [_select_fold(splits, fold, transductive) for fold in folds]
    for fold, clips in zip(folds, chosen, strict=True):
        if clips.empty:
            raise UserError(
                f"fold {fold} leaves no clip to pre-train on; every clip is held out by some task. "
                "Add unlabelled audio (parameter unlabelled=<folder>) or training clips."
            )
    return pd.concat(chosen, ignore_index=True)[COLUMNS]


def _pools_only(splits: Mapping[str, pd.DataFrame], transductive: bool) -> pd.DataFrame:
    pools = {name: table for name, table in splits.items() if (table["made_by"] == NO_TASK).all()}
    if not pools:
        raise UserError(
            "pretraining.task_audio=false leaves nothing to pre-train on: name unlabelled audio "
            "(parameter unlabelled=<folder>, or an entry under pools)"
        )
    tasks = [table for name, table in splits.items() if name not in pools]
    held_out = [table[~table["split"].isin(TRAINABLE)] for table in tasks]
    pool = pd.concat([table.assign(corpus=name) for name, table in pools.items()])
    if held_out and not transductive:
        pool = pool[~same_audio(pool, pd.concat(held_out))]
    if pool.empty:
        raise UserError("every clip of the pools is held out by some task; add unlabelled audio")
    return pool.drop_duplicates("clip_id").assign(fold=0).reset_index(drop=True)[COLUMNS]


def _study_folds(splits: Iterable[pd.DataFrame]) -> list[int]:
    """Return the folds of the tasks that have several; a fixed split or a pool adds none."""
    of_tables = [{int(fold) for fold in table["fold"].unique()} for table in splits]
    return sorted(set().union(*(folds for folds in of_tables if folds != {0}))) or [0]


def _select_fold(splits: Mapping[str, pd.DataFrame], fold: int, transductive: bool) -> pd.DataFrame:
    held_out, candidates = [], []
    for corpus, table in splits.items():
        of_fold = table[table["fold"] == matching_fold(fold, table["fold"].unique())]
        trainable = transductive | of_fold["split"].isin(TRAINABLE)
        held_out.append(of_fold[~trainable])
        candidates.append(of_fold[trainable].assign(corpus=corpus))
    pool = pd.concat(candidates, ignore_index=True)
    pool = pool[~same_audio(pool, pd.concat(held_out))].drop_duplicates("clip_id")
    return pool.assign(fold=fold)
