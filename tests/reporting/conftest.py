from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

FAMILIES = ["bass", "brass", "flute", "guitar", "keyboard", "mallet", "organ", "reed", "string",
            "ačiū_&_100%"]  # fmt: skip
ENCODERS = [  # encoder, source, read_out, parameters, dimension, share right
    ("random_init", "", "block3", 74_880, 512, 0.40),
    ("random_init", "", "fc2", 600_192, 512, 0.38),
    ("log_mel_statistics", "", "", 0, 128, 0.45),
    ("supervised", "", "fc2", 600_192, 512, 0.58),
    ("decar", "", "block3", 74_880, 512, 0.52),
    ("decar", "", "fc2", 600_192, 512, 0.60),
    ("unfused", "random_encoder", "block3", 74_880, 512, 0.50),
    ("unfused", "log_mel_statistics", "block3", 74_880, 512, 0.51),
    ("unfused", "shuffled", "block3", 74_880, 512, 0.39),
    ("unfused", "teacher", "block3", 74_880, 512, 0.62),
    ("unfused_full", "teacher", "fc2", 600_192, 512, 0.61),
]


def _further(right):
    known = [row[:3] for row in ENCODERS]
    return [(*key, 74_880, 512, share) for key, share in (right or {}).items() if key not in known]


def _experiment(
    tasks=("instrument_family",),
    *,
    seeds=(0,),
    folds=(0,),
    n_test=300,
    n_groups=12,
    protocols=("linear_probe",),
    right=None,
    classes=FAMILIES,
):
    """Result and prediction rows of a made-up experiment; ``right`` overrides shares of hits."""
    results, predictions = [], []
    for task in tasks:
        generator = np.random.default_rng(len(task))
        label = generator.choice(classes, n_test)
        fold = np.resize(np.asarray(folds), n_test)
        group = [f"kit {index % n_groups}" for index in range(n_test)] if n_groups else None
        luck = generator.random(n_test)
        for encoder, source, read_out, parameters, dimension, share in [
            *ENCODERS,
            *_further(right),
        ]:
            share = (right or {}).get((encoder, source, read_out), share)
            for protocol in protocols:
                for seed in seeds:
                    jitter = 0 if encoder == "log_mel_statistics" else 0.02 * (seed % 3 - 1)
                    hit = luck + 0.1 * generator.standard_normal(n_test) < share + jitter
                    if encoder == "log_mel_statistics":
                        hit = luck < share
                    wrong = generator.choice(classes, n_test)
                    key = {"task": task, "encoder": encoder, "source": source, "read_out": read_out,
                           "protocol": protocol, "fitted_on": "train", "seed": seed}  # fmt: skip
                    part = pd.DataFrame({
                        **key, "fold": fold, "clip_id": [f"{task}{i}" for i in range(n_test)],
                        "group": group, "label": label, "predicted": np.where(hit, label, wrong),
                    })  # fmt: skip
                    predictions.append(part)
                    for one, rows in part.groupby("fold"):
                        value = (rows["label"] == rows["predicted"]).mean()
                        results.append({
                            **key, "fold": one, "metric": "accuracy", "value": value,
                            "n_train": 900, "n_valid": 150, "n_test": len(rows),
                            "parameters": parameters, "dimension": dimension,
                            "regularisation": 1e-3, "transductive": False,
                            "validation": share, "validation_error": 0.0, "chosen_on": "validation",
                        })  # fmt: skip
    return pd.DataFrame(results), pd.concat(predictions, ignore_index=True)


@pytest.fixture(scope="session")
def experiment():
    """Make result and prediction rows; tests say what is special about theirs."""
    return _experiment


@pytest.fixture(scope="session")
def one_seed():
    return _experiment()


@pytest.fixture(scope="session")
def three_seeds():
    return _experiment(("instrument_family", "NS"), seeds=(0, 1, 2), folds=(1, 2, 3))
