"""Embedders: one interface, saved and loaded without a change."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.fft import dct

from unfused.core.errors import NotFoundError, UserError
from unfused.embeddings.embedder import (
    FILE,
    EncoderEmbedder,
    Joined,
    LogMelStatistics,
    MFCCStatistics,
    as_embedder,
    load_embedder,
)
from unfused.embeddings.read_out import USUAL, ReadOut
from unfused.encoders.trained import save_encoder
from unfused.tasks.corpus import Corpus


@pytest.fixture
def corpus(store):
    clips = pd.DataFrame({"clip_id": store.clip_ids, "corpus": "toy", "digest": store.clip_ids})
    return Corpus.of(store, clips.assign(label="a"))


@pytest.fixture
def embedders(make_trained):
    seen = pd.DataFrame({"corpus": ["toy"], "clip_id": ["x"], "digest": ["d"]})
    encoder = EncoderEmbedder(
        make_trained(), ReadOut(("block3",), segments=3), trained_on=seen, name="mine"
    )
    plain = [LogMelStatistics(), MFCCStatistics(segments=2)]
    return [encoder, *plain, Joined([encoder, *plain])]


def test_vectors_have_the_announced_dimension(embedders, corpus):
    for embedder in embedders:
        found = embedder.embed(corpus, device="cpu")
        assert found.shape == (len(corpus), embedder.dim)
        assert found.dtype == np.float32
        assert np.isfinite(found).all()


def test_saved_and_loaded_they_compute_the_same(embedders, corpus, tmp_path):
    for number, embedder in enumerate(embedders):
        embedder.save(tmp_path / str(number))
        again = load_embedder(tmp_path / str(number))
        assert (again.name, again.dim, again.digest) == (
            embedder.name, embedder.dim, embedder.digest
        )  # fmt: skip
        np.testing.assert_array_equal(
            again.embed(corpus, device="cpu"), embedder.embed(corpus, device="cpu")
        )
        assert len(again.trained_on) == len(embedder.trained_on)


def test_an_encoder_is_read_out_as_usual_unless_something_else_is_asked_for(make_trained, tmp_path):
    trained = make_trained()
    save_encoder(tmp_path, trained)
    for source in (trained, tmp_path, {"kind": "encoder", "folder": str(tmp_path)}):
        assert as_embedder(source).read_out == USUAL.of(trained)
    assert as_embedder(trained, ReadOut()).read_out == ReadOut().of(trained)


def test_settings_of_another_version_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(LogMelStatistics, "_write", lambda self, folder: {"speed": 3})
    LogMelStatistics().save(tmp_path)
    with pytest.raises(UserError, match=r"does not fit this version.*speed"):
        load_embedder(tmp_path)


def test_digests_tell_embedders_apart(embedders, make_trained):
    other = EncoderEmbedder(make_trained(seed=1), ReadOut(("block3",), segments=3))
    narrower = EncoderEmbedder(make_trained(), ReadOut(("block3",)))
    digests = [item.digest for item in [*embedders, other, narrower]]
    assert len(set(digests)) == len(digests)


def test_mfcc_statistics_by_hand(corpus):
    clip = corpus.store.clip(int(corpus.rows[-1]))
    mfcc = dct(clip.astype(float), type=2, norm="ortho", axis=1)[:, :20]
    expected = [mfcc.mean(0), mfcc.std(0), (mfcc[3:] - mfcc[:-3]).std(0)]
    found = MFCCStatistics().embed(corpus)[-1]
    np.testing.assert_allclose(found, np.concatenate(expected), rtol=1e-4, atol=1e-4)


def test_an_encoder_counts_the_parameters_that_it_uses(make_trained):
    trained = make_trained()
    shallow = EncoderEmbedder(trained, ReadOut(("block1",)))
    whole = EncoderEmbedder(trained, ReadOut(("fc2",)))
    assert shallow.n_parameters < whole.n_parameters == trained.encoder.n_parameters


class Fitted:
    def __init__(self, trained):
        self.student_ = trained
        self.trained_on_ = pd.DataFrame({"corpus": ["c"], "clip_id": ["1"], "digest": ["d"]})


def test_what_stands_for_an_embedder(make_trained, tmp_path):
    trained = make_trained()
    assert as_embedder(trained, ReadOut()).dim == 3 * trained.encoder.dims["block3"]
    assert len(as_embedder(Fitted(trained)).trained_on) == 1
    assert as_embedder("mfcc_statistics").name == "MFCC statistics"
    joined = as_embedder([trained, "log_mel_statistics"])
    assert joined.dim == as_embedder(trained).dim + 256
    parts = [
        {"kind": f"{name}_statistics", "facts": {"licence": name}} for name in ("mfcc", "log_mel")
    ]
    both = as_embedder({"kind": "joined", "name": "both", "parts": [*parts, parts[0]]})
    assert (both.name, both.facts["licence"]) == ("both", "mfcc; log_mel")
    both.save(tmp_path / "both")
    assert load_embedder(tmp_path / "both").name == "both"
    as_embedder(trained).save(tmp_path / "saved")
    assert as_embedder(tmp_path / "saved").digest == as_embedder(trained).digest
    assert as_embedder(joined) is joined


@pytest.mark.parametrize("nothing", [3, None, object()])
def test_what_does_not_is_refused(nothing):
    with pytest.raises(UserError, match="fit"):
        as_embedder(nothing)


def test_a_folder_without_an_embedder_is_not_found(tmp_path):
    with pytest.raises(NotFoundError):
        load_embedder(tmp_path)
    (tmp_path / FILE).write_text("{")
    with pytest.raises(UserError, match="damaged"):
        load_embedder(tmp_path)
    (tmp_path / FILE).write_text('{"kind": "pickle"}')
    with pytest.raises(NotFoundError, match="pickle"):
        load_embedder(tmp_path)
