"""How well a classifier notices sounds of none of its classes, on real data sets.

    UNFUSED_DATA=<folder of data sets> python benchmarks/none_of_these.py

Each data set's classifier hears its own validation clips, and those of all others; seed 0.
"""

import os
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

from unfused import Classifier, Corpus
from unfused.inference.classifier import STRANGE

SETS = {
    "fsdd_digits": {"split": "split_speaker", "group": "speaker"},
    "esc10": {"fold": None, "group": "clip_id"},
    "emodb": {"group": "speaker"},
    "lithuanian_commands": {"group": "speaker"},
    "fsd_instruments10": {},
    "drums_multi": {"group": "kit"},
    "animals10": {},
}
MOST = 400
"""Training clips of a data set, 60 foreign clips of each other one."""


def main() -> None:
    """Print the area under the ROC curve, and the shares of clips that are called unknown."""
    root = Path(os.environ["UNFUSED_DATA"])
    corpora = {name: Corpus(root / name, columns=given) for name, given in SETS.items()}
    own = {name: corpus.part("valid", corpus.folds[0]) for name, corpus in corpora.items()}
    rng = np.random.default_rng(0)
    for encoder in ("mfcc_statistics", ["mfcc_statistics", "log_mel_statistics"]):
        areas, known, foreign = [], [], []
        for name, corpus in corpora.items():
            train = corpus.part("train", corpus.folds[0])
            some = rng.permutation(train.clips["clip_id"])[:MOST]
            model = Classifier(encoder).fit(train.take(some))
            mine = strangeness(model, own[name])
            far = [strangeness(model, clips)[:60] for other, clips in own.items() if other != name]
            theirs = np.concatenate(far)
            truth = np.repeat([0, 1], [len(mine), len(theirs)])
            areas.append(roc_auc_score(truth, np.concatenate([mine, theirs])))
            known.append((mine > STRANGE).mean())
            foreign.append((theirs > STRANGE).mean())
        print(
            f"{encoder}: area {np.mean(areas):.2f}; called unknown: {np.mean(known):.1%} of its "
            f"own clips, {np.mean(foreign):.1%} of foreign ones"
        )


def strangeness(model: Classifier, clips: Corpus) -> np.ndarray:
    """Return how strange clips are to a classifier, (N,)."""
    return model.head_.strangeness(model.embedder_.embed(clips, device="cpu"))


if __name__ == "__main__":
    main()
