"""On real audio the linear probe is scikit-learn's logistic regression."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from unfused.data.log_mel import FrontEnd
from unfused.data.reading import probe, read_mono
from unfused.data.store import LogMelStore
from unfused.embeddings.embedder import EncoderEmbedder
from unfused.embeddings.read_out import ReadOut
from unfused.probes.probe import Probe
from unfused.tasks.corpus import Corpus

SETS = ("animals10", "drums_multi", "emodb", "esc10", "fsd_instruments10", "fsdd_digits",
        "lithuanian_commands")  # fmt: skip
MOST_CLIPS, SECONDS = 300, 1.0


@pytest.fixture(params=SETS)
def labelled(request, real_data, tmp_path):
    """The first second of some clips of a real set, and their labels."""
    folder = real_data / request.param
    table = pd.read_csv(folder / "labels.csv", dtype=str)
    table = table.sample(min(MOST_CLIPS, len(table)), random_state=0)
    front_end, log_mels = FrontEnd(), {}
    for name in table["path"]:
        info = probe(folder / name)
        frames = min(info.frames, round(SECONDS * info.sample_rate))
        log_mels[name] = front_end.log_mel(read_mono(folder / name, frames=frames))
    store = LogMelStore.write(tmp_path / "store", front_end, log_mels)
    corpus = Corpus.of(store, pd.DataFrame({"clip_id": table["path"], "corpus": request.param}))
    return corpus, table["label"].to_numpy().astype(str)


def test_the_probe_is_scikit_learns_on_every_real_set(labelled, make_trained):
    """Every clip is held out once, so half a point is more than one clip."""
    corpus, y = labelled
    x = EncoderEmbedder(make_trained(d=64), ReadOut(("fc2",))).embed(corpus, device="cpu")
    ours, theirs, best = (np.empty_like(y) for _ in range(3))
    for train, test in StratifiedKFold(5, shuffle=True, random_state=0).split(x, y):
        fitted = Probe(lda=False).fit(x[train], y[train])
        reference = make_pipeline(
            StandardScaler(),
            LogisticRegression(C=1 / (len(train) * fitted.setting_), tol=1e-6, max_iter=20000),
        ).fit(x[train].astype(np.float64), y[train])
        ours[test], theirs[test] = fitted.predict(x[test]), reference.predict(x[test])
        best[test] = Probe().fit(x[train], y[train]).predict(x[test])
    assert abs((ours == y).mean() - (theirs == y).mean()) <= 0.005
    assert (ours == theirs).mean() >= 0.99
    assert (best == y).mean() >= (ours == y).mean() - 0.03
    assert (ours == y).mean() > 1.2 * pd.Series(y).value_counts(normalize=True).max()
