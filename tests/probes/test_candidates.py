"""Which encoders are compared on a task."""

import pandas as pd
import pytest
import torch
from unfused.probes.supervised_evaluation import plans

from unfused.core.repeats import Repeat
from unfused.encoders import AudioNTT, TrainedEncoder, save_encoder
from unfused.encoders.collection import EncoderCollection
from unfused.probes.candidates import list_candidates

CLIPS = pd.DataFrame({"corpus": ["pool"], "clip_id": ["c"], "digest": ["d"]})
USUAL = {"encoder": "audio_ntt", "encoder_settings": {"d": 32, "channels": 8}}


@pytest.fixture
def methods(tmp_path, make_trained):
    def collection(name, d):
        trained = make_trained(d=d)
        named = TrainedEncoder(
            trained.encoder, "audio_ntt", trained.front_end, trained.mean, trained.std,
            {"method": name, "seed": 0},
        )  # fmt: skip
        save_encoder(tmp_path / name / "seed0-fold0", named, CLIPS)
        return EncoderCollection({"seed0-fold0": tmp_path / name / "seed0-fold0"})

    return {"decar": collection("decar", 32), "wide": collection("wide", 48)}


def candidates(methods, cuts=("fc2",), student_cut="block3"):
    found = list_candidates(
        methods, None, Repeat(0, 3), **USUAL, cuts=cuts, student_cut=student_cut
    )
    return {candidate.label: candidate for candidate in found}


def test_a_method_with_its_own_architecture_brings_its_own_random_encoder(methods):
    found = candidates(methods)
    assert list(found) == ["log_mel_statistics", "random_init", "decar", "random_init_wide", "wide"]
    assert found["random_init"].load().encoder.dims["fc2"] == 32
    assert found["random_init_wide"].load().encoder.dims["fc2"] == 48
    assert len({candidate.digest for candidate in found.values()}) == 5


def test_defaults_spelt_out_are_the_same_architecture(methods):
    spelt = {**USUAL, "encoder_settings": {"d": 32, "channels": 8, "cut": "fc2", "dropout": 0.3}}
    found = list_candidates(
        {"decar": methods["decar"]}, None, Repeat(0, 0), **spelt, cuts=["fc2"], student_cut="block3"
    )
    assert [candidate.label for candidate in found][1:] == ["random_init", "decar"]


def test_an_encoder_without_the_cuts_is_evaluated_at_its_last(methods):
    found = candidates(methods, cuts=("layer12",), student_cut="layer6")
    assert found["decar"].cuts == found["random_init"].cuts == ("fc2",)
    assert candidates(methods)["decar"].cuts == ("block3", "fc2")


def test_every_architecture_is_trained_from_scratch_too(methods):
    found = candidates(methods)
    planned = [plan.label for item in found.values() for plan in plans(item, ["wide"], *"fs")]
    assert planned == ["supervised", "supervised_wide", "wide"]


def test_random_encoders_differ_by_seed_only(methods):
    one, again = (candidates(methods)["random_init"].load().encoder for _ in range(2))
    other = list_candidates(
        {"decar": methods["decar"]}, None, Repeat(0, 1), **USUAL, cuts=["fc2"], student_cut="block3"
    )[1]
    assert isinstance(one, AudioNTT)
    for mine, same, of_other_fold in zip(
        one.parameters(), again.parameters(), other.load().encoder.parameters(), strict=True
    ):
        assert torch.equal(mine, same)
        assert torch.equal(mine, of_other_fold)
