"""The control that trains on the true labels, and where it is refused."""

import numpy as np
import pandas as pd
import pytest

from unfused.core.repeats import Repeat
from unfused.distillation.task_clusters import cluster_task
from unfused.tasks.task_data import TaskData


@pytest.fixture
def task(tones):
    store, labels = tones
    manifest = pd.DataFrame(
        {"clip_id": store.clip_ids, "corpus": "toy", "digest": store.clip_ids, "offset": 0}
    ).assign(frames=1, label=labels, group=None, multi_label=False)
    parts = np.where(np.arange(len(labels)) < 45, "train", "test")
    splits = manifest[["clip_id", "digest", "offset", "frames"]].assign(fold=0, split=parts)
    return TaskData(store, manifest, splits)


def cluster(task, make_trained, **changed):
    options = {"n_clusters": None, "features": "encoder", "whiten_dim": 8, "iterations": 5}
    options |= {"controls": ["true_labels"], "transductive": False, "device": "cpu"}
    return cluster_task(task, Repeat(0, 0), {"teacher": make_trained()}, **options | changed)


def test_the_upper_bound_has_the_true_classes_of_training_clips_alone(task, make_trained):
    tables = cluster(task, make_trained)
    bound = tables["pseudo_labels"].query("source == 'true_labels'")
    assert list(bound["clip_id"]) == list(task.part(0, "train").table["clip_id"])
    truth = task.manifest.set_index("clip_id").loc[bound["clip_id"], "label"]
    assert (
        pd.crosstab(truth.to_numpy(), bound["pseudo_label"].to_numpy()).gt(0).to_numpy().sum() == 3
    )
    quality = tables["quality"].set_index("source")
    assert quality.loc["true_labels", "ami"] == pytest.approx(1)


@pytest.mark.parametrize(
    ("column", "value", "changed", "why"),
    [
        ("label", None, {}, "1 training clips have no label"),
        ("multi_label", True, {}, "several labels a clip"),
        ("corpus", "toy", {"transductive": True}, "held-out clips are trained on"),
    ],
)
def test_the_upper_bound_is_refused_where_it_would_cheat(
    task, make_trained, column, value, changed, why
):
    task.manifest.loc[0, column] = value
    with pytest.raises(ValueError, match=why):
        cluster(task, make_trained, **changed)
