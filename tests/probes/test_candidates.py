"""What is compared on a task."""

import json
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
import torch

from unfused.core.outputs import OutputFolder
from unfused.core.repeats import Repeat
from unfused.embeddings.read_out import ReadOut
from unfused.encoders import AudioNTT, Conformer, TrainedEncoder, save_encoder
from unfused.encoders.trained import EncoderCollection
from unfused.probes.candidates import Candidate, Vectors, embed_candidates, list_candidates
from unfused.probes.evaluation import plans

CLIPS = pd.DataFrame({"corpus": ["pool"], "clip_id": ["c"], "digest": ["d"]})
USUAL = ("audio_ntt", {"d": 32, "channels": 8})
BLOCK, FC = ReadOut(("block3",)), ReadOut(("fc2",))


@pytest.fixture
def saved(tmp_path, make_trained):
    """Save an encoder; return its folder."""

    def save(name, d=32, cut="fc2", encoder=None):
        made = make_trained(d=d, cut=cut)
        facts = {"method": name, "licence": "CC0"}
        kind = "audio_ntt" if encoder is None else "conformer"
        trained = TrainedEncoder(
            encoder or made.encoder, kind, made.front_end, made.mean, made.std, facts
        )
        save_encoder(tmp_path / name, trained, CLIPS)
        return tmp_path / name

    return save


@pytest.fixture
def methods(saved):
    return {
        "decar": EncoderCollection({"seed0-fold0": saved("decar")}),
        "wide": EncoderCollection({"seed0-fold0": saved("wide", 48)}),
    }


REPEATS = (Repeat(0, 3),)


def listed(methods, students=None, repeats=REPEATS, read_outs=(BLOCK, FC), usual=USUAL, joined=()):
    known = {"untrained": usual, "read_outs": read_outs, "joined": joined}
    return list_candidates(methods, students, repeats, **known)


def names(found):
    return list(dict.fromkeys(candidate.label for candidate in found))


def test_every_run_has_plain_statistics_and_random_encoders(methods):
    found = listed(methods)
    plain = ["mfcc_statistics", "log_mel_statistics"]
    assert names(found) == [*plain, "random_init", "random_init_wide", "decar", "wide"]
    assert len(found) == 2 + 4 * 2
    by_name = {
        (item.label, item.read_out.split()[0] if item.read_out else ""): item for item in found
    }
    assert by_name["random_init", "fc2"].load().trained.encoder.dims["fc2"] == 32
    assert by_name["random_init_wide", "fc2"].load().trained.encoder.dims["fc2"] == 48
    assert by_name["log_mel_statistics", ""].load().segments == 3
    assert len({candidate.key for candidate in found}) == len(found)
    assert len({candidate.digest for candidate in found}) == len(found)


def test_facts_are_known_without_loading_again(methods):
    for candidate in listed(methods):
        embedder = candidate.load()
        assert candidate.digest == embedder.digest
        untrained = candidate.label.startswith("random_init")
        plain = candidate.label.endswith("_statistics")
        assert candidate.pretraining_clips == (0 if untrained or plain else 1)
        assert len(embedder.trained_on) == (0 if plain else 1)  # a random one by its normalisation
        assert candidate.facts == ({} if untrained or plain else {"licence": "CC0"})


def test_defaults_spelt_out_are_the_same_architecture(methods):
    spelt = ("audio_ntt", {"d": 32, "channels": 8, "cut": "fc2", "dropout": 0.3})
    found = listed({"decar": methods["decar"]}, usual=spelt)
    assert "random_init_decar" not in names(found)


def test_an_encoder_without_the_taps_is_read_out_at_its_own(methods, saved):
    torch.manual_seed(0)
    small = {"latent_dim": 16, "embed_dim": 16, "n_layers": 2, "n_heads": 2, "ffn_dim": 32}
    folder = saved("conformer", encoder=Conformer(**small))
    found = listed({**methods, "conformer": EncoderCollection({"seed0-fold0": folder})})
    of_it = [item.read_out for item in found if item.label == "conformer"]
    assert of_it == [BLOCK.name.replace("block3", "layer2")]
    assert "random_init_conformer" in names(found)


def test_students_and_what_only_full_ones_can_be_read_out_at(methods, saved):
    students = EncoderCollection({
        "teacher-seed0-fold3/student": saved("a", cut="block3"),
        "teacher-seed0-fold3/full": saved("b"),
        "shuffled-seed0-fold3/student": saved("c", cut="block3"),
        "shuffled-seed0-fold3/full": saved("e"),
        "teacher-seed0-fold1/student": saved("f", cut="block3"),
    })  # fmt: skip
    found = [item for item in listed(methods, students) if item.label.startswith("unfused")]
    assert {(item.name, item.read_out.split()[0]) for item in found} == {
        ("unfused-teacher", "block3"), ("unfused_full-teacher", "fc2"),
        ("unfused-shuffled", "block3"), ("unfused_full-shuffled", "fc2"),
    }  # fmt: skip


def test_students_of_a_teacher_from_outside(saved):
    students = EncoderCollection({
        f"{source}-seed0-fold3/{kind}": saved(source + kind, cut=cut)
        for source in ("teacher", "embeddings")
        for kind, cut in (("student", "block3"), ("full", "fc2"))
    })  # fmt: skip
    found = [item for item in listed({}, students, read_outs=[BLOCK]) if item.read_out]
    assert {(item.label, item.source) for item in found} == {
        ("random_init", ""), ("unfused", "teacher"), ("embedding_student", ""),
    }  # fmt: skip


def test_what_no_seed_changes_is_evaluated_once_a_fold(methods):
    repeats = [Repeat(seed, fold) for seed in (0, 1) for fold in (0, 1)]
    both = EncoderCollection({
        f"seed{seed}-fold0": methods["decar"].folder("seed0-fold0") for seed in (0, 1)
    })  # fmt: skip
    found = listed({"decar": both}, repeats=repeats, read_outs=[BLOCK])
    plain = [item.repeat for item in found if item.label == "mfcc_statistics"]
    assert plain == [Repeat(0, 0), Repeat(0, 1)]
    assert [item.repeat for item in found if item.label == "decar"] == repeats


def test_random_encoders_differ_by_seed_only(methods):
    found = listed(methods, repeats=[Repeat(0, 0), Repeat(0, 1)], read_outs=[FC])
    one, two = (item.load().trained.encoder for item in found if item.label == "random_init")
    assert isinstance(one, AudioNTT)
    assert all(map(torch.equal, one.parameters(), two.parameters()))


def test_a_random_encoder_can_stand_beside_others(methods):
    found = listed(methods, read_outs=[FC], joined=[["random_init", "mfcc_statistics"]])
    joined = found[-1]
    assert joined.label == "random_init + mfcc_statistics"
    assert joined.load().dim == sum(
        item.load().dim for item in found if item.label in ("random_init", "mfcc_statistics")
    )


def test_candidates_are_json(methods):
    for candidate in listed(methods):
        again = Candidate(**json.loads(json.dumps(asdict(candidate))))
        assert again.key == candidate.key
        assert again.load().digest == candidate.digest


def test_every_encoder_is_trained_once_however_often_it_is_read_out(methods):
    found = listed(methods)
    planned = [plan.candidate.label for plan in plans(found, ["wide"], "f", "s")]
    assert planned == ["supervised", "supervised_wide", "wide"]


def test_vectors_are_made_once_and_found_by_clip(
    methods, tones, make_corpus, tmp_path, monkeypatch
):
    store, labels = tones
    labels = labels.astype(object)
    labels[5:8] = None
    monkeypatch.setattr("unfused.tasks.corpus.MOST_UNLABELLED", 2)
    corpus = make_corpus(store, labels, {"train": 30, "test": 30})
    candidate = listed(methods, read_outs=[BLOCK])[-1]
    outputs = OutputFolder(tmp_path / "outputs")
    once, again = (embed_candidates([candidate], corpus, outputs, device="cpu") for _ in range(2))
    assert once == again
    assert len(list((tmp_path / "outputs").iterdir())) == 1
    vectors, test = Vectors.load(once[0]), corpus.part("test")
    assert vectors.matrix.shape == (59, candidate.load().dim)
    assert vectors.n_parameters == candidate.load().n_parameters
    again = candidate.load().embed(test, device="cpu")
    np.testing.assert_allclose(vectors.of(test), again, atol=1e-5)
    with pytest.raises(ValueError, match="1 clips of tones were not embedded"):
        vectors.of(corpus)
