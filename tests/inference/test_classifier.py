"""Classifiers: fitted, scored, asked, saved and loaded, on any embedder."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

import unfused
from unfused.core.errors import NotFoundError, UserError
from unfused.data.reading import UnreadableAudio
from unfused.inference import Classifier, load_classifier
from unfused.inference.classifier import UNKNOWN
from unfused.probes.head import save_head
from unfused.probes.probe import SELF_TRAINING
from unfused.tasks.corpus import Corpus
from unfused.tasks.leakage import LeakError

RATE = 16000


def tone(pitch, seconds, level=0.3, seed=0):
    noise = np.random.default_rng(seed).standard_normal(int(seconds * RATE))
    return level * np.sin(2 * np.pi * pitch * np.arange(len(noise)) / RATE) + 0.03 * level * noise


@pytest.mark.parametrize(
    "embedder",
    [
        "log_mel_statistics",
        {"kind": "mfcc_statistics", "segments": 2},
        ["mfcc_statistics", "log_mel_statistics"],
    ],
)
def test_any_embedder_can_be_deployed(tones, embedder, tmp_path):
    train, test = tones.split()
    model = Classifier(embedder, device="cpu").fit(train)
    assert model.score(test) > 0.9
    assert model.cv_score_ > 0.9
    model.save(tmp_path)
    again = load_classifier(tmp_path)
    assert again.score(test) == model.score(test)
    assert again.cv_score_ == model.cv_score_
    assert again.predict(test) == model.predict(test)
    assert not list(tmp_path.glob("*.tmp"))


def test_the_readme_says_so(tones, tmp_path):
    train, test = tones.split()
    quick = {"clip_updates": 64, "batch_size": 16, "device": "cpu"}
    small = {"encoder_settings": {"d": 16, "channels": 8}}
    teacher = unfused.DECAR(**quick, **small).fit(tones.unlabelled)
    student = unfused.UnFuSeD(teacher, n_clusters=3, **quick).fit(train)
    model = unfused.Classifier(student, device="cpu").fit(train)
    assert model.score(test) > 0.5
    model.save(tmp_path / "model")
    assert len(model.predict(tones.clips["path"].iloc[0].rsplit("/", 1)[0])) == 12
    again = unfused.load_classifier(tmp_path / "model")
    assert again.score(test) == model.score(test)
    with pytest.raises(LeakError):
        again.score(train)


def test_parameters_are_those_of_the_constructor(encoder):
    model = Classifier(encoder, seed=3)
    assert model.get_params()["seed"] == 3
    assert model.set_params(seed=4).seed == 4
    assert "toy" in repr(model)
    with pytest.raises(ValueError, match="fit"):
        model.predict(np.zeros(RATE), sample_rate=RATE)


def test_clips_that_were_seen_are_not_scored(classifier, encoder, tones):
    train, test = tones.split()
    with pytest.raises(LeakError):
        classifier.score(train)
    embedder = type(encoder)(encoder.trained, trained_on=test.clips)
    model = Classifier(embedder, device="cpu").fit(train)
    with pytest.raises(LeakError):
        model.score(test)


def test_one_class_is_refused(tones):
    one = tones.take(tones.clips["clip_id"][tones.clips["label"] == "hz400"])
    with pytest.raises(UserError, match="class"):
        Classifier("mfcc_statistics").fit(one)


def test_a_prediction(classifier, tones):
    test = tones.split()[1]
    said = classifier.predict(test.clips["path"][0])
    assert next(iter(said.probabilities)) == said.label == test.labels[0]
    assert said.probability == max(said.probabilities.values())
    assert set(said.probabilities) == {"hz400", "hz1200", "hz3600"}
    assert sum(said.probabilities.values()) == pytest.approx(1, abs=1e-5)
    assert said.segments == 1


def test_files_samples_and_corpora_are_heard_alike(classifier, tones):
    test = tones.split()[1]
    paths = test.clips["path"].tolist()
    files, clips = classifier.predict(paths), classifier.predict(test)
    samples = classifier.predict([soundfile.read(path)[0] for path in paths], sample_rate=RATE)
    for one, other, third in zip(files, clips, samples, strict=True):
        assert one.label == other.label == third.label
        assert one.probability == pytest.approx(other.probability, rel=1e-3)
        assert one.probability == pytest.approx(third.probability, rel=1e-3)
        assert (one.path, third.path) == (other.path, "")


def test_several_labels(encoder, tmp_path):
    rng, folder = np.random.default_rng(0), tmp_path / "sounds"
    folder.mkdir()
    rows = []
    for i in range(36):
        names = [(), ("low",), ("high",), ("low", "high")][i % 4] or ("low",)
        wave = sum(tone({"low": 400, "high": 3600}[name], 0.6, seed=i) for name in names)
        soundfile.write(folder / f"{i}.wav", wave + 0.01 * rng.standard_normal(len(wave)), RATE)
        rows.append({"path": f"{i}.wav", "label": ";".join(names)})
    pd.DataFrame(rows).to_csv(folder / "labels.csv", index=False)
    corpus = Corpus(folder, folder=tmp_path / "store", label_separator=";", n_jobs=1)
    train, test = corpus.split()
    model = Classifier(encoder, device="cpu").fit(train)
    assert model.score(test) > 0.9
    said = model.predict(
        [tone(400, 0.6) + tone(3600, 0.6, seed=1), tone(400, 0.6)], sample_rate=RATE
    )
    assert [item.label for item in said] == ["high|low", "low"]
    assert sum(said[0].probabilities.values()) > 1


def test_long_recordings_are_classified_segment_by_segment(classifier, tmp_path):
    pitches = [400, 3600, 1200, 400]
    wave = np.concatenate([tone(pitch, 3.0) for pitch in pitches])
    soundfile.write(tmp_path / "long.flac", wave, RATE)
    found = classifier.classify(tmp_path / "long.flac", segment_seconds=1.0, top_k=2)
    table = found.predictions
    assert list(table["start_seconds"]) == list(range(12))
    assert list(table["end_seconds"]) == list(range(1, 13))
    assert list(table["top_1"])[1::3] == [f"hz{pitch}" for pitch in pitches]  # within each tone
    assert {"label", "probability", "unknown", "top_2", "probability_2"} <= set(table)
    assert "top_3" not in table
    assert len(found.embeddings) == len(table)
    assert found.embeddings.shape[1] == 3 + classifier.embedder_.dim
    whole = classifier.predict(tmp_path / "long.flac")
    assert whole.segments == len(classifier.classify(tmp_path / "long.flac").predictions) > 1
    assert whole.label == "hz400"


def test_silence_is_unknown(classifier):
    wave = np.concatenate([tone(400, 3.0), np.zeros(3 * RATE), tone(400, 3.0, level=3e-4)])
    table = classifier.classify(wave, sample_rate=RATE, segment_seconds=1.0).predictions
    assert table["unknown"].tolist()[1::3] == [False, True, True]  # within each part
    assert table["label"].tolist()[1::3] == ["hz400", UNKNOWN, UNKNOWN]
    assert classifier.predict(np.zeros(RATE), sample_rate=RATE).label == UNKNOWN
    assert classifier.predict(wave, sample_rate=RATE).label == "hz400"  # silence does not count


def test_bad_files_are_left_out_or_named(classifier, tones, tmp_path):
    shutil.copy(tones.clips["path"][0], tmp_path / "good.wav")
    data = (tmp_path / "good.wav").read_bytes()
    (tmp_path / "bad.wav").write_bytes(data[:30])
    found = classifier.classify(tmp_path)
    assert len(found.predictions) == 1
    assert list(found.rejected["path"].str.rsplit("/", n=1).str[1]) == ["bad.wav"]
    assert len(classifier.predict(tmp_path)) == 1
    with pytest.raises(UnreadableAudio, match=r"bad\.wav"):
        classifier.predict([tmp_path / "good.wav", tmp_path / "bad.wav"])


@pytest.mark.parametrize(
    ("audio", "rate", "words"),
    [
        (np.zeros(100), None, "sample_rate"),
        (np.zeros((100, 2)), RATE, "transpose"),
        (np.full(100, np.nan), RATE, "not finite"),
        ("missing.wav", None, "missing.wav"),
        ([], None, "empty"),
    ],
)
def test_what_is_no_audio_is_refused(classifier, audio, rate, words):
    with pytest.raises(UserError, match=words):
        classifier.predict(audio, sample_rate=rate)


@pytest.mark.parametrize(
    "given",
    [
        {"top_k": 0},
        {"segment_seconds": 1, "hop_seconds": 2},
        {"segment_seconds": 0},
        {"segment_seconds": 1, "hop_seconds": -1},
    ],
)
def test_arguments_without_meaning_are_refused(classifier, given):
    with pytest.raises(UserError, match=next(iter(given))):
        classifier.classify(np.zeros(RATE), sample_rate=RATE, **given)


def damage(folder, how):
    if how == "interrupted":
        data = (folder / "head.safetensors").read_bytes()
        (folder / "head.safetensors").write_bytes(data[:-4])
    elif how == "another encoder":
        embedder = unfused.load_encoder(folder)
        next(embedder.trained.encoder.parameters()).data += 1
        embedder.save(folder.parent / "other")
        for file in (folder.parent / "other").iterdir():
            file.replace(folder / file.name)
    elif how == "other classes":
        head = json.loads((folder / "head.json").read_text())
        (folder / "head.json").write_text(json.dumps({**head, "classes": head["classes"][::-1]}))
    else:
        (folder / how).unlink()


@pytest.mark.parametrize(
    "how",
    [
        *("interrupted", "another encoder", "other classes", "head.json"),
        *("seen.parquet", "embedder.json", "encoder.json"),
    ],
)
def test_a_damaged_one_is_refused(classifier, tmp_path, how):
    classifier.save(tmp_path / "model")
    load_classifier(tmp_path / "model")
    damage(tmp_path / "model", how)
    with pytest.raises(UserError):
        load_classifier(tmp_path / "model")


def test_an_encoder_alone_is_no_classifier(classifier, tmp_path):
    classifier.embedder_.save(tmp_path)
    with pytest.raises(NotFoundError, match="head"):
        load_classifier(tmp_path)


def test_a_folder_is_saved_in_again_and_other_files_in_it_stay(classifier, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    for _ in range(2):
        classifier.save(tmp_path)
    (tmp_path / "notes.txt").write_text("changed")
    load_classifier(tmp_path)
    assert not list(tmp_path.glob(".*"))
    classifier.embedder_.save(tmp_path)  # of the classifier nothing is left
    assert (tmp_path / "notes.txt").exists()
    assert not (tmp_path / "head.json").exists()


def test_a_network_with_its_own_last_layer(classifier, tones, tmp_path):
    """As training end to end saves it: an embedder, and a head that knows the clips' lengths."""
    facts = ("longest_seconds", "median_seconds")
    head = replace(classifier.head_, provenance={k: classifier.facts_[k] for k in facts})
    classifier.embedder_.save(tmp_path)
    save_head(tmp_path, head)
    path = tones.clips["path"][0]
    assert load_classifier(tmp_path).predict(path) == classifier.predict(path)


def test_the_encoder_of_a_saved_classifier_can_be_loaded(classifier, tones, tmp_path):
    classifier.save(tmp_path)
    encoder = unfused.load_encoder(tmp_path)
    path = tones.clips["path"][0]
    expected = classifier.embedder_.embed(path, device="cpu").clip
    np.testing.assert_array_equal(encoder.embed(path, device="cpu").clip, expected)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")
def test_a_gpu_says_the_same(classifier, tones):
    path = tones.clips["path"][0]
    expected = classifier.predict(path)
    found = classifier.set_params(device="cuda").predict(path)
    classifier.set_params(device="cpu")
    assert found.probability == pytest.approx(expected.probability, abs=1e-2)


def test_few_labels_are_helped_by_clips_without_one(tones, encoder, tmp_path):
    train, test = tones.split()
    labels = train.clips["label"].astype(object)
    spare = train.clips.groupby("label").cumcount() >= 2
    mostly = Corpus.of(train.store, train.clips.assign(label=labels.where(~spare, None)))
    assert spare.sum() >= 2 * len(mostly.labelled) > 0
    model = Classifier(encoder, device="cpu").fit(mostly)
    assert model.facts_["setting"] == SELF_TRAINING
    assert model.facts_["n_train"] == len(mostly.labelled)
    assert model.score(test) > 0.7
    vectors = encoder.embed(mostly.for_probes, device="cpu")
    again = Classifier(encoder, device="cpu").fit(mostly, vectors)
    np.testing.assert_array_equal(again.head_.linear.weight, model.head_.linear.weight)
    model.save(tmp_path)
    assert load_classifier(tmp_path).score(test) == model.score(test)
    with pytest.raises(LeakError):  # it has heard them
        model.score(train.take(train.clips["clip_id"][spare]))
    with pytest.raises(UserError, match="must be"):
        Classifier(encoder, device="cpu").fit(mostly, vectors[: len(mostly.labelled)])
    plain = Classifier("mfcc_statistics").fit(mostly)
    assert plain.facts_["setting"] != SELF_TRAINING
    assert len(plain.seen_) == len(mostly.labelled)
