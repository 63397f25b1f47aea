"""A task of tones: a corpus with parts."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from unfused.tasks.corpus import Corpus


@pytest.fixture(scope="session")
def make_corpus():
    """Return a corpus of a store's clips with labels and parts, e.g. {"train": 20, "valid": 10}."""

    def make(store, labels, parts, *, groups=None, several=False):
        names, n = store.clip_ids, len(store)
        clips = pd.DataFrame({"clip_id": names, "corpus": "tones", "digest": names})
        clips = clips.assign(label=np.asarray(labels, object), group=groups, multi_label=several)
        split = np.repeat(list(parts), list(parts.values()))
        splits = pd.DataFrame({"clip_id": names[: len(split)], "fold": 0, "split": split})
        assert len(split) <= n
        return Corpus.of(store, clips, splits)

    return make
