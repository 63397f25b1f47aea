"""Embedding every candidate of a task, once."""

from dataclasses import asdict

import pandas as pd
import torch

from unfused.core.outputs import OutputFolder
from unfused.embeddings import read_out as module
from unfused.embeddings.embedder import EncoderEmbedder
from unfused.embeddings.read_out import ReadOut
from unfused.encoders import save_encoder
from unfused.probes.candidates import Candidate, Vectors, embed_candidates
from unfused.tasks.corpus import Corpus

CLIPS = pd.DataFrame({"corpus": ["pool"], "clip_id": ["c"], "digest": ["d"]})


def test_read_outs_of_one_encoder_share_its_passes(tmp_path, make_trained, tones, monkeypatch):
    store, labels = tones
    clips = pd.DataFrame({"clip_id": store.clip_ids, "corpus": "tones", "digest": store.clip_ids})
    corpus = Corpus.of(store, clips.assign(label=labels))
    save_encoder(tmp_path / "encoder", make_trained(), CLIPS)
    read_outs = [ReadOut(("block3",)), ReadOut(("fc2",), ("max+mean",)), ReadOut(("block1",))]
    bare = Candidate("decar", "", 0, 0, {"kind": "encoder"}, str(tmp_path / "encoder"))
    items = [
        Candidate(**{**asdict(bare), "embedder": {"kind": "encoder", "read_out": asdict(r)}})
        for r in read_outs
    ]
    items = [item.described() for item in items]
    passes = []
    one_pass = module._one_pass
    monkeypatch.setattr(module, "_one_pass", lambda *a: passes.append(1) or one_pass(*a))
    folders = embed_candidates(items, corpus, OutputFolder(tmp_path / "out"), device="cpu")
    assert len(passes) == 1
    for item, wanted in zip(items, read_outs, strict=True):
        expected = EncoderEmbedder(make_trained(), wanted).embed(corpus, device="cpu")
        found = Vectors.load(folders[item.key]).of(corpus)
        torch.testing.assert_close(torch.tensor(found), torch.tensor(expected))
