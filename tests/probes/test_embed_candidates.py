"""Embedding every candidate of a task, once."""

from dataclasses import asdict, replace

import pandas as pd
import pytest
import torch

from unfused.core.outputs import OutputFolder
from unfused.embeddings import read_out as module
from unfused.embeddings.embedder import EncoderEmbedder
from unfused.embeddings.read_out import ReadOut
from unfused.encoders import save_encoder
from unfused.probes.candidates import Candidate, Vectors, embed_candidates
from unfused.tasks.corpus import Corpus

CLIPS = pd.DataFrame({"corpus": ["pool"], "clip_id": ["c"], "digest": ["d"]})


@pytest.fixture
def corpus(tones):
    store, labels = tones
    clips = pd.DataFrame({"clip_id": store.clip_ids, "corpus": "tones", "digest": store.clip_ids})
    return Corpus.of(store, clips.assign(label=labels))


@pytest.fixture
def passes(monkeypatch):
    """A mark for every pass over the clips."""
    marks, one_pass = [], module._one_pass
    monkeypatch.setattr(module, "_one_pass", lambda *a: marks.append(1) or one_pass(*a))
    return marks


@pytest.fixture
def candidate(tmp_path):
    """Save an encoder, and return it as a candidate with a read-out."""

    def candidate(label, trained, item):
        save_encoder(tmp_path / label, trained, CLIPS)
        given = {"kind": "encoder", "read_out": asdict(item)}
        return Candidate(label, "", 0, 0, given, str(tmp_path / label)).described()

    return candidate


def check(embedded, encoders, corpus):
    """See that vectors are those of each encoder on its own."""
    for item, trained in zip(embedded, encoders, strict=True):
        read_out = ReadOut(**item.embedder["read_out"])
        expected = EncoderEmbedder(trained, read_out).embed(corpus, device="cpu")
        found = Vectors.load(item).of(corpus)
        torch.testing.assert_close(torch.tensor(found), torch.tensor(expected))


def test_read_outs_of_one_encoder_share_its_passes(
    tmp_path, make_trained, corpus, passes, candidate
):
    wanted = [ReadOut(("block3",)), ReadOut(("fc2",), ("max+mean",)), ReadOut(("block1",))]
    items = [candidate("decar", make_trained(), item) for item in wanted]
    embedded = embed_candidates(items, corpus, OutputFolder(tmp_path / "out"), device="cpu")
    assert len(passes) == 1
    check(embedded, 3 * [make_trained()], corpus)


def test_a_student_is_heard_in_the_passes_of_the_full_network(
    tmp_path, make_trained, corpus, passes, candidate
):
    full = make_trained()
    student, other = replace(full, encoder=full.encoder.truncated("block3")), make_trained(seed=1)
    encoders = [other, full, student, student]
    items = [
        candidate("decar", other, ReadOut(("block3",))),
        candidate("unfused_full", full, ReadOut(("fc2",), ("max+mean",))),
        candidate("unfused", student, ReadOut(("block3",))),
        candidate("unfused", student, ReadOut(("block3",), clip_normalisation=True)),
    ]
    embedded = embed_candidates(items, corpus, OutputFolder(tmp_path / "out"), device="cpu")
    assert len(passes) == 3  # nobody asks for the first one's clip-normalised vectors
    check(embedded, encoders, corpus)
