"""Train, validation and test parts: taken as given, made where they are missing, and recorded."""

import logging
import warnings
from collections.abc import Mapping
from typing import Literal

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold

from ..core.seeding import derive_seed, numpy_generator
from .label_sets import rarest_labels
from .manifest import same_audio, with_recordings
from .table import ManifestError

log = logging.getLogger(__name__)
NO_CLASSES = "no classes"  # `made_by` where there is nothing to tell apart, so nothing to test
_FEWEST_GROUPS = {"test": 3, "valid": 2}  # so that every part still to be filled gets one
_FEWEST_TESTED, _FOLDS = 100, 5  # a smaller test part says too little; so many folds instead
_LATER = {"test": ("valid", "train", "unlabelled"), "valid": ("train", "unlabelled")}


def assign_splits(
    manifest: pd.DataFrame,
    *,
    seed: int = 0,
    valid_fraction: float = 0.15,
    test_fraction: float = 0.2,
    n_folds: int | Literal["auto"] = 1,
) -> pd.DataFrame:
    """Say for every fold which clips train, validate and test.

    A fold column is taken as cross-validation, whatever the split column says; else a given split
    is taken, and a missing validation part is cut from its training part; else the split is made:
    by groups where there are at least three, stratified by label otherwise. Every class with a
    labelled clip outside the test part keeps one in training, so with very few labels the
    validation part may be empty. The same audio is never in two parts: the test part keeps it
    first, then the validation part. A clip with several labels counts as one of its rarest.

    Where parts are cut here, ``valid_fraction`` is a share of what is not test, ``test_fraction``
    of all labelled clips; or each clip is tested once, in ``n_folds`` (more than 1; ``auto``: in
    five, if a test part would have fewer than 100 clips).

    Returns:
        One row per clip and fold: clip_id, fold (0 for a single split), split (train, valid, test;
        "unlabelled"; or "excluded" for audio that another part holds and for an unlabelled clip
        that a given split or fold, or its group, holds out) and made_by (how the split came
        about). Without a group column, clips of one recording (the same file, or a copy) are a
        group. With fewer than two classes clips are unlabelled, or excluded as given.

    Raises:
        ManifestError: A fraction is not within (0, 1), a test part is empty, or a training part has
            fewer than two classes.
    """
    fractions, blocks = {"valid": valid_fraction, "test": test_fraction}, []
    for part, value in fractions.items():
        if not 0 < value < 1:
            raise ManifestError(f"{part}_fraction={value} must lie between 0 and 1")
    if manifest["fold"].notna().any() and manifest["split"].notna().any():
        log.warning(
            "both fold and split are given: the %d folds are taken, and all is trained as often; "
            "columns.fold=null takes the split instead",
            manifest["fold"].nunique(),
        )
    if "multi_label" in manifest and manifest["multi_label"].any():
        manifest = manifest.assign(label=rarest_labels(manifest["label"]))
    manifest = with_recordings(manifest)
    groups = manifest["group"].dropna()
    copies = len(groups) and groups.isin(manifest["digest"]).all()
    labelled = manifest["label"].notna().to_numpy()
    folds = "given folds"
    if manifest[["fold", "split"]].isna().all(axis=None):
        few = test_fraction * labelled.sum() < _FEWEST_TESTED
        k = (_FOLDS if few else 1) if n_folds == "auto" else n_folds
        manifest, folds = _with_folds(manifest, labelled, k, seed)
        if n_folds == "auto" and folds:
            log.warning(
                "%d labelled clips are few for one test part: each is tested once, in %d folds, so "
                "what learns from them is trained as often (n_folds: 1 in the task's parameters "
                "makes one test part)",
                *(labelled.sum(), manifest["fold"].nunique()),
            )
    for fold in sorted(int(fold) for fold in manifest["fold"].dropna().unique()) or [0]:
        split, made_by = _split(manifest, fold, seed, fractions, folds)
        if copies:
            made_by = made_by.replace("grouped", "grouped (copies kept together)")
        blocks.append(manifest[["clip_id"]].assign(fold=fold, split=split, made_by=made_by))
    return pd.concat(blocks, ignore_index=True)


def _with_folds(
    manifest: pd.DataFrame, labelled: np.ndarray, n_folds: int, seed: int
) -> tuple[pd.DataFrame, str]:
    """Deal the labelled clips into folds, groups whole, if that can be; say how."""
    clips = manifest[labelled]
    groups = clips["group"].astype(object).where(clips["group"].notna(), clips["clip_id"])
    counts = clips["label"].value_counts()
    k = min(n_folds, groups.nunique(), counts.max() if len(counts) > 1 else 1)
    if k < 2:
        return manifest, ""
    cut = StratifiedGroupKFold(k, shuffle=True, random_state=derive_seed(seed, "folds") % 2**32)
    fold = pd.Series(pd.NA, manifest.index, dtype="Int64")
    with warnings.catch_warnings():  # a class of fewer clips than folds is tested in some of them
        warnings.simplefilter("ignore", UserWarning)
        for number, (_, tested) in enumerate(cut.split(clips, clips["label"], groups), 1):
            fold.loc[clips.index[tested]] = number
    kind = "grouped" if clips["group"].notna().any() else "stratified"
    return manifest.assign(fold=fold), f"made {k} folds, {kind} (seed {seed})"


def _split(
    manifest: pd.DataFrame, fold: int, seed: int, fractions: Mapping[str, float], folds: str
) -> tuple[np.ndarray, str]:
    """Return the part of each clip, (N,), and how it came about."""
    labelled, held_out = manifest["label"].notna(), manifest["split"].isin(["valid", "test"])
    if manifest["fold"].notna().any():
        held_out = (manifest["fold"] == fold).fillna(False).astype(bool)
    split, clips = np.where(held_out, "excluded", "unlabelled").astype(object), manifest[labelled]
    if clips["label"].nunique() < 2:
        return split, NO_CLASSES

    def cut(part: str) -> str:
        rng = numpy_generator(seed, "split", part, fold)
        return f"{_cut(manifest, split, part, fractions[part], rng)} (seed {seed})"

    split[labelled] = "train"
    if clips["fold"].notna().any():
        split[labelled & held_out] = "test"
        source = folds
    elif clips["split"].notna().any():
        split[labelled] = clips["split"].fillna("train")
        source = "given split"
        if not (split == "test").any():
            raise ManifestError(
                "the given split has no test clip: mark some rows 'test', or leave the column out"
            )
    else:
        source = f"made {cut('test')}"
    n_shared = _exclude_shared(manifest, split, "test")
    _warn_shared_groups(clips, split[labelled], source)
    if not (split == "valid").any():
        inner = cut("valid")
        source += "" if source.startswith("made") else f", inner {inner}"
    n_shared += _exclude_shared(manifest, split, "valid")
    _check_parts(clips, split[labelled], fold)
    train, held = split == "train", np.isin(split, ["valid", "test"])
    tested = set(manifest["group"][held].dropna()) - set(manifest["group"][train])
    split[~labelled & manifest["group"].isin(tested)] = "excluded"
    if n_shared:
        text = "fold %d: left out %d clips whose audio the test or validation part holds too"
        log.warning(text, fold, n_shared)
    return split, source


def _exclude_shared(clips: pd.DataFrame, split: np.ndarray, part: str) -> int:
    """Exclude from later parts, in place, what shares audio with ``part``; return how many."""
    later = np.flatnonzero(np.isin(split, _LATER[part]))
    shared = later[same_audio(clips.iloc[later], clips[split == part])]
    split[shared] = "excluded"
    return len(shared)


def _cut(
    clips: pd.DataFrame, split: np.ndarray, part: str, fraction: float, rng: np.random.Generator
) -> str:
    """Move about ``fraction`` of the training clips into ``part``, in place; return how."""
    train = np.flatnonzero(split == "train")
    labels = clips["label"].to_numpy(dtype=object)[train]
    groups = clips["group"].iloc[train]
    kind, moved = "grouped", np.empty(0, dtype=np.int64)
    if groups.nunique() >= _FEWEST_GROUPS[part]:
        moved = _cut_groups(labels, groups, fraction, rng)
        if not moved.size and part == "test":
            raise ManifestError(
                "no test part can be cut by groups: each class would lose its only group. Give a "
                "split column, or leave the group column out"
            )
    if not moved.size:
        if groups.notna().any():
            log.warning("too few groups for a grouped %s part: cut by label, groups shared", part)
        kind, moved = "stratified", _cut_stratified(labels, fraction, rng)
    if not moved.size:
        log.warning("no %s part: no class has a labelled clip to spare", part)
    split[train[moved]] = part
    return kind


def _cut_stratified(labels: np.ndarray, fraction: float, rng: np.random.Generator) -> np.ndarray:
    """Return positions of about ``fraction`` of each class, never a whole class."""
    moved: list[int] = []
    for label in sorted(set(labels)):
        members = rng.permutation(np.flatnonzero(labels == label))
        moved.extend(members[: min(max(1, round(fraction * len(members))), len(members) - 1)])
    return np.sort(np.asarray(moved, dtype=np.int64))


def _cut_groups(
    labels: np.ndarray, groups: pd.Series, fraction: float, rng: np.random.Generator
) -> np.ndarray:
    """Return positions of whole groups that come close to ``fraction`` of each class.

    One pass over the groups in random order takes each that brings the counts per class closer
    (least squares) to their targets, never the last clips of a class. A clip without is a group.
    """
    group_of = pd.factorize(groups, sort=True)[0].astype(np.int64)
    alone = group_of < 0
    group_of[alone] = group_of.max() + 1 + np.arange(alone.sum())
    counts = pd.crosstab(group_of, labels).to_numpy(float)  # (G, C)
    total = counts.sum(axis=0)
    target, taken = fraction * total, np.zeros_like(total)
    chosen: list[int] = []
    for group in rng.permutation(len(counts)):
        with_it = taken + counts[group]
        closer = np.square(with_it - target).sum() < np.square(taken - target).sum()
        if closer and (with_it < total).all():
            chosen.append(int(group))
            taken = with_it
    if not chosen:  # every group is larger than the part
        possible = np.flatnonzero((counts < total).all(axis=1))
        excess = np.square(counts[possible] - target).sum(axis=1)
        chosen = possible[[excess.argmin()]].tolist() if possible.size else []
    return np.flatnonzero(np.isin(group_of, chosen))


def _check_parts(clips: pd.DataFrame, split: np.ndarray, fold: int) -> None:
    train, test = (set(clips["label"][split == part]) for part in ("train", "test"))
    if len(train) < 2:
        n_train, n_shared = (int((split == part).sum()) for part in ("train", "excluded"))
        shared = f" ({n_shared} more are also in a held-out part)" if n_shared else ""
        raise ManifestError(
            f"fold {fold}: the training part has {len(train)} class(es) in {n_train} clips{shared}"
            "; it needs at least 2: label more clips"
        )
    if not test:
        raise ManifestError(f"fold {fold}: the test part has no labelled clip: label more clips")
    if test - train:
        log.warning("fold %d: classes only in the test part: %s", fold, sorted(test - train)[:10])


def _warn_shared_groups(clips: pd.DataFrame, split: np.ndarray, source: str) -> None:
    test, rest = split == "test", np.isin(split, ["train", "valid"])
    if shared := set(clips["group"][test].dropna()) & set(clips["group"][rest].dropna()):
        what, example = "groups", min(shared)
        if shared <= set(clips["digest"]):  # groups made here: say it in the user's words
            what, example = "recordings", clips["path"][clips["group"].isin(shared)].min()
        text = "%s: %d %s stand on both sides of the test part, e.g. %s; scores may flatter"
        log.warning(text, source, len(shared), what, example)
