"""Labels that are chosen against labels that are drawn at random, on real data sets.

    UNFUSED_DATA=<folder of data sets> python benchmarks/label_next.py

At first one training clip a class has a label. Each round asks for two more a class, and fits a
classifier on MFCC and log-mel statistics. Balanced accuracy on validation clips; mean over data
sets and draws.
"""

import os
from pathlib import Path

import numpy as np
from sklearn.metrics import balanced_accuracy_score

from none_of_these import SETS
from unfused import Corpus
from unfused.embeddings.embedder import as_embedder
from unfused.inference.search import label_next
from unfused.probes.head import Head
from unfused.probes.probe import Probe

ROUNDS, DRAWS, PER_CLIP = 5, 3, (1, 10)
STATISTICS = ["mfcc_statistics", "log_mel_statistics"]


def main() -> None:
    """Print the accuracy after each round, by how labels are chosen."""
    root, embedder = Path(os.environ["UNFUSED_DATA"]), as_embedder(STATISTICS)
    found: dict[str, list[list[float]]] = {}
    for name, columns in SETS.items():
        corpus = Corpus(root / name, columns=columns)
        train, valid = (corpus.part(part, corpus.folds[0]) for part in ("train", "valid"))
        x, z = embedder.embed(train), embedder.embed(valid)
        for draw in range(DRAWS):
            for how in ("random", *(f"chosen, {n} per clip" for n in PER_CLIP)):
                scores = rounds(x, train.labels, z, valid.labels, how, draw)
                found.setdefault(how, []).append(scores)
        print(name, {how: np.round(np.mean(v[-DRAWS:], 0), 3) for how, v in found.items()})
    for how, scores in found.items():
        print(how, np.round(np.mean(scores, axis=0), 3))


def rounds(
    x: np.ndarray, y: np.ndarray, z: np.ndarray, truth: np.ndarray, how: str, draw: int
) -> list[float]:
    """Return the score after each round of labelling."""
    rng = np.random.default_rng(draw)
    classes = np.unique(y)
    known = [rng.choice(np.flatnonzero(y == name)) for name in classes]
    scores = []
    for _ in range(ROUNDS):
        head = Head.of_probe(Probe(seed=draw).fit(x[known], y[known]))
        scores.append(balanced_accuracy_score(truth, head.named(head.probabilities(z))))
        rest = np.setdiff1d(np.arange(len(y)), known)
        n = min(2 * len(classes), len(rest))
        if how == "random":
            asked = rng.permutation(rest)[:n]
        else:
            per_clip = int(how.split()[1])
            likely = head.probabilities(x[rest])
            asked = rest[label_next(x[rest], likely, n, per_clip=per_clip, seed=draw)]
        known += list(asked)
    return scores


if __name__ == "__main__":
    main()
