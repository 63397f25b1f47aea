import numpy as np
import pandas as pd
import pytest

from unfused.tasks.corpus import Corpus

from ..methods.conftest import Toy, encoder, make_toy, one_thread, toy, train

__all__ = ["Toy", "encoder", "make_toy", "one_thread", "toy", "train"]


@pytest.fixture
def corpus(tones):
    """60 clips of three classes: 36 train, 9 validate, 12 test, 3 have no label."""
    store, labels = tones
    number = np.arange(len(labels))
    parts = np.select([number < 36, number < 45, number < 57], ["train", "valid", "test"], "none")
    clips = pd.DataFrame({"clip_id": store.clip_ids, "corpus": "toy", "digest": store.clip_ids})
    clips = clips.assign(
        offset=0, frames=1, group=None, multi_label=False, label=np.where(number < 57, labels, None)
    )
    splits = clips[["clip_id", "digest", "offset", "frames"]].assign(
        fold=0, split=np.where(parts == "none", "unlabelled", parts), made_by="test"
    )
    return Corpus.of(store, clips, splits)
