"""No encoder hears what it is evaluated on: the clips it may be trained on, and the guard."""

import logging
from collections.abc import Mapping

import pandas as pd

from ..core.errors import UserError
from ..core.repeats import matching_fold
from ..data.manifest import AUDIO_KEY, same_audio

log = logging.getLogger(__name__)
_TRAINABLE = ("train", "unlabelled")
NO_TASK = "no task"
"""``made_by`` of the splits of a corpus that is there for pre-training only."""
ENOUGH = 10
"""Beside so many times as many clips without a label the others would hardly be heard."""


class LeakError(UserError):
    """An encoder is about to be evaluated on clips that it was trained on."""


def check_no_leak(trained_on: pd.DataFrame, evaluated: pd.DataFrame) -> None:
    """Refuse to evaluate an encoder on audio that it has seen, under whatever name.

    It was ``trained_on`` the clips that itself, its normalisation or its pseudo-labels were made
    from. Columns are clip_id, digest and perhaps corpus, offset and frames, see
    :func:`unfused.data.manifest.same_audio`.

    Raises:
        LeakError: A clip stands in both; the message names the first few.
        UserError: A column is missing.
    """
    for name, table in (("trained_on", trained_on), ("evaluated", evaluated)):
        if missing := sorted({"clip_id", "digest"} - set(table)):
            raise UserError(f"{name} lacks the columns {missing}; it has {list(table.columns)}")
    leaked = evaluated["clip_id"].isin(trained_on["clip_id"]) | same_audio(evaluated, trained_on)
    seen = evaluated[leaked]
    if seen.empty:
        return
    same = trained_on["clip_id"].isin(seen["clip_id"]) | trained_on["digest"].isin(seen["digest"])
    corpora = sorted(set(trained_on.loc[same, "corpus"])) if "corpus" in trained_on else []
    where = f" (trained on: {', '.join(map(str, corpora))})" if corpora else ""
    raise LeakError(
        f"the encoder was trained on {len(seen)} of the {len(evaluated)} clips it is evaluated on, "
        f"such as {', '.join(seen['clip_id'].astype(str).head(3))}{where}; train without them, or "
        "mark the evaluation as transductive"
    )


def training_clips(splits: pd.DataFrame, fold: int, *, transductive: bool = False) -> pd.DataFrame:
    """Return the rows of a task's splits whose audio may be trained on in one fold, without labels.

    ``transductive`` takes that of validation and test clips, too.
    """
    of_fold = splits[splits["fold"] == fold]
    return of_fold[_trainable(of_fold, transductive)]


def select_pretraining_clips(
    splits: Mapping[str, pd.DataFrame],
    *,
    transductive: bool = False,
    task_audio: bool | None = None,
) -> pd.DataFrame:
    """Return the pre-training clips of every fold, over all corpora of the study.

    Audio that some task holds out (the same part of the same bytes, under whatever name and in
    whatever corpus) is left out of that fold; the same clip of a corpus is taken once. Columns
    are fold, corpus, clip_id, digest, offset and frames, those of ``splits``, corpus -> table,
    clip_id, digest, offset, frames, fold, split and made_by. ``transductive`` keeps held-out audio;
    encoders made this way are marked.

    If ``task_audio`` is false, the pools alone are taken, in one fold, 0, and what any task holds
    out in any of its folds is left out of it. If it is None, and there are several folds, so are
    clips without a label alone, of pools and tasks, where so many are left of them as
    :data:`ENOUGH` times all other clips; not if ``transductive``.

    Raises:
        UserError: A fold has no clip left, or there is no pool to take the place of task audio.
    """
    pools = {key: table for key, table in splits.items() if (table["made_by"] == NO_TASK).all()}
    if not (pools if task_audio is False else splits):
        raise UserError(
            "task_audio=False leaves nothing to pre-train on: add a corpus of unlabelled audio, or "
            "give True",
            remedy="unlabelled",
        )
    # a fixed split or a pool, which has fold 0 alone, adds no fold
    given = [set(table["fold"].unique()) for table in splits.values()]
    folds = set().union(*(found for found in given if found != {0})) or {0}
    if task_audio is None and len(folds) > 1 and not transductive:
        alone = _heard(0, splits, {key: _never_in_a_part(item) for key, item in splits.items()})
        every = pd.concat(splits.values())
        n = every.loc[every["split"] != "unlabelled", "clip_id"].nunique()
        if len(alone) >= ENOUGH * n:
            log.info(
                "pre-training is once for all folds, on clips without a label (%d)", len(alone)
            )
            return alone
    if task_audio is False:
        chosen = {0: _heard(0, splits, pools, transductive=transductive)}
    else:
        rows_of = {fold: _of_fold(splits, fold) for fold in sorted(map(int, folds))}
        chosen = {
            fold: _heard(fold, rows, rows, transductive=transductive)
            for fold, rows in rows_of.items()
        }
    for fold, clips in chosen.items():
        if clips.empty:
            raise UserError(
                f"fold {fold} leaves no clip to pre-train on; every clip is held out by some task. "
                "Add unlabelled audio or training clips",
                remedy="unlabelled",
            )
    return pd.concat(chosen.values(), ignore_index=True)


def _heard(
    fold: int,
    splits: Mapping[str, pd.DataFrame],
    sources: Mapping[str, pd.DataFrame],
    *,
    transductive: bool = False,
) -> pd.DataFrame:
    """Return the rows of some sources that may be trained on in a fold: no table holds them out."""
    every = pd.concat(splits.values())
    held_out = every[~_trainable(every, transductive)]
    tables = [table.assign(corpus=corpus, fold=fold) for corpus, table in sources.items()]
    clips = pd.concat(tables, ignore_index=True)
    clips = clips[_trainable(clips, transductive)]
    clips = clips[~same_audio(clips, held_out)].drop_duplicates("clip_id")
    return clips[["fold", "corpus", *AUDIO_KEY]].reset_index(drop=True)


def _trainable(splits: pd.DataFrame, transductive: bool) -> pd.Series:
    return splits["split"].isin(_TRAINABLE) | transductive


def _of_fold(splits: Mapping[str, pd.DataFrame], fold: int) -> dict[str, pd.DataFrame]:
    """Return the rows of every corpus in a fold of the study, see :func:`matching_fold`."""
    return {
        key: table[table["fold"] == matching_fold(fold, table["fold"].unique())]
        for key, table in splits.items()
    }


def _never_in_a_part(splits: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of clips that are unlabelled in every fold."""
    others = splits.loc[splits["split"] != "unlabelled", "clip_id"]
    return splits[~splits["clip_id"].isin(others)]
