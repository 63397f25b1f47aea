"""A corpus: audio in, log-mels, labels and parts out; what is held out stays held out."""

from __future__ import annotations

import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from unfused.core.errors import NotFoundError, UserError
from unfused.data import extraction
from unfused.data.log_mel import FrontEnd
from unfused.data.reading import read_mono
from unfused.data.store import LogMelStore, StoreError
from unfused.data.table import ManifestError
from unfused.tasks.corpus import Corpus
from unfused.tasks.label_kinds import MULTI_LABEL, SINGLE_LABEL

CLASSES = ("high", "low", "mid")


def tone(path: Path, seed: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    wave = np.sin(np.arange(4000 + 40 * seed) * rng.uniform(0.1, 1.0))
    soundfile.write(path, 0.2 * wave + 0.01 * rng.normal(size=wave.size), 16000)
    return path


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten clips of each of three classes, four without a label, one that is no audio."""
    root = tmp_path_factory.mktemp("audio") / "sounds"
    for number, label in enumerate(CLASSES):
        for i in range(10):
            tone(root / label / f"{i}.wav", 10 * number + i)
    for i in range(4):
        tone(root / "unlabelled" / f"{i}.wav", 30 + i)
    (root / "low" / "broken.wav").write_bytes(b"RIFF no audio")
    return root


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("log mels")


@pytest.fixture
def corpus(sounds: Path, kept: Path) -> Corpus:
    return Corpus(sounds, folder=kept, n_jobs=1)


@pytest.fixture(scope="module")
def folded(sounds: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table with folds and speakers; five clips of each fold have no label."""
    rows = [
        {"path": str(sounds / label / f"{i}.wav"), "label": label if i < 8 else "",
         "fold": 1 + i % 2, "group": f"speaker{i}"}
        for label in CLASSES for i in range(10)
    ]  # fmt: skip
    file = tmp_path_factory.mktemp("tables") / "folded.csv"
    pd.DataFrame(rows).to_csv(file, index=False)
    return file


def ids(corpus: Corpus) -> set[str]:
    return set(corpus.clips["clip_id"])


def held_out(corpus: Corpus, fold: int = 0) -> set[str]:
    of_fold = corpus.splits[corpus.splits["fold"] == fold]
    return set(of_fold.loc[of_fold["split"].isin(["valid", "test"]), "clip_id"])


def test_a_folder_of_class_folders(corpus: Corpus) -> None:
    assert corpus.name == "sounds"
    assert len(corpus) == 34
    assert corpus.classes == list(CLASSES)
    assert corpus.kind is SINGLE_LABEL
    assert corpus.folds == [0]
    assert corpus.groups is None
    assert [Path(path).name for path in corpus.rejected["path"]] == ["broken.wav"]
    assert repr(corpus).startswith("Corpus('sounds', clips=34, labelled=30, hours=0.00")


def test_rows_lengths_and_statistics_are_those_of_the_log_mels(corpus: Corpus) -> None:
    log_mels = [FrontEnd().log_mel(read_mono(path)) for path in corpus.clips["path"]]
    for row, log_mel in zip(corpus.rows, log_mels, strict=True):
        np.testing.assert_allclose(corpus.store.clip(row), log_mel, atol=1e-2)
    np.testing.assert_allclose(corpus.seconds, [(len(x) - 1) / 100 for x in log_mels])
    values = np.concatenate(log_mels).astype(np.float64)
    assert corpus.statistics == pytest.approx((values.mean(), values.std()), abs=1e-6)
    part = corpus.part("test")
    np.testing.assert_array_equal(corpus.store.clip_ids[part.rows], part.clips["clip_id"])
    assert part.statistics != corpus.statistics


def test_split_covers_all_labelled_clips_once(corpus: Corpus) -> None:
    train, test = corpus.split()
    assert ids(train) | ids(test) == ids(corpus.labelled)
    assert not ids(train) & ids(test)
    assert len(test) == 6
    assert set(train.labels) == set(test.labels) == set(CLASSES)
    assert ids(train) == ids(corpus.part("train")) | ids(corpus.part("valid"))
    assert ids(train.part("valid")) == ids(corpus.part("valid"))
    assert ids(train.part("train")) == ids(corpus.part("train"))
    assert len(train.part("test")) == 0


def test_a_grouped_split_shares_no_group(sounds: Path, kept: Path, tmp_path: Path) -> None:
    rows = [f"{sounds / label}/{i}.wav,{label},s{i // 2}" for label in CLASSES for i in range(10)]
    (tmp_path / "list.csv").write_text("\n".join(["path,label,speaker", *rows]))
    corpus = Corpus(tmp_path / "list.csv", folder=kept, n_jobs=1)
    train, valid, test = (corpus.part(name) for name in ("train", "valid", "test"))
    parts = [set(part.groups) for part in (train, valid, test)]  # type: ignore[arg-type]
    assert set.union(*parts) == {f"s{i}" for i in range(5)}
    assert sum(len(part) for part in parts) == 5


def test_pieces_of_a_recording_and_clips_without_a_speaker(
    sounds: Path, kept: Path, tmp_path: Path
) -> None:
    rows = [f"{sounds / label}/{i}.wav,{label},0,{n}" for label in CLASSES
            for i in range(10) for n in (3000, 4000)]  # fmt: skip
    (tmp_path / "pieces.csv").write_text("\n".join(["path,label,offset,frames", *rows]))
    pieces = Corpus(tmp_path / "pieces.csv", folder=kept, n_jobs=1)
    assert pieces.groups is not None
    assert len(set(pieces.groups)) == 30 == len(pieces) / 2
    rows = [f"{sounds / label}/{i}.wav,{label},{'s' * (i > 0)}" for label in CLASSES
            for i in range(10)]  # fmt: skip
    (tmp_path / "gap.csv").write_text("\n".join(["path,label,speaker", *rows]))
    gap = Corpus(tmp_path / "gap.csv", folder=kept, n_jobs=1)
    assert gap.groups is not None
    assert len(set(gap.groups)) == 4


def test_what_is_trained_on_without_labels_holds_nothing_out(corpus: Corpus) -> None:
    audio = corpus.unlabelled
    assert not ids(audio) & held_out(corpus)
    assert not set(audio.splits["clip_id"]) & held_out(corpus)
    assert ids(audio) == ids(corpus) - held_out(corpus)  # the unlabelled clips too
    assert audio.clips["label"].isna().all()
    assert audio.classes == []
    with pytest.raises(UserError, match="no label"):
        _ = audio.labels
    with pytest.raises(ManifestError, match="no labels"):
        audio.split()
    assert ids(audio.unlabelled) == ids(audio)
    everything = corpus.for_training(transductive=True)
    assert ids(everything) == ids(corpus)
    assert everything.clips["label"].isna().all()
    assert ids(corpus.split()[0].unlabelled) == ids(corpus.part("train"))
    assert corpus.clips["label"].notna().sum() == 30  # it kept its own


def test_folds(folded: Path, kept: Path) -> None:
    corpus = Corpus(folded, folder=kept, n_jobs=1)
    assert corpus.folds == [1, 2]
    for fold in (1, 2):
        train, test = corpus.split(fold)
        assert set(test.clips["fold"]) == {fold}
        assert set(train.clips["fold"]) == {3 - fold}
        assert train.folds == [fold]
        audio = corpus.for_training(fold)
        assert not ids(audio) & held_out(corpus, fold)
        assert set(audio.clips["fold"]) == {3 - fold}  # held-out unlabelled clips neither
    first, second = corpus.split(), corpus.split(1)
    assert [ids(part) for part in first] == [ids(part) for part in second]
    for call in (corpus.split, corpus.for_training):
        with pytest.raises(UserError, match="fold=3"):
            call(3)


def test_labels_must_be_there(corpus: Corpus) -> None:
    with pytest.raises(UserError, match="4 of 34 clips of sounds have no label"):
        _ = corpus.labels
    assert corpus.labelled.labels.tolist() == sorted(CLASSES * 10)


def test_audio_without_labels(sounds: Path, kept: Path) -> None:
    pool = Corpus(sounds / "low", folder=kept, n_jobs=1)
    assert ids(pool.unlabelled) == ids(pool)
    assert pool.classes == []
    with pytest.raises(ManifestError, match="low has no labels"):
        pool.split()


def test_given_parts_are_held_out_without_labels_too(
    sounds: Path, kept: Path, tmp_path: Path
) -> None:
    rows = [f"{sounds}/low/{i}.wav,{part}" for i, part in enumerate(["train", "valid", "test"])]
    (tmp_path / "list.csv").write_text("\n".join(["path,split", *rows]))
    pool = Corpus(tmp_path / "list.csv", folder=kept, n_jobs=1)
    assert [Path(path).name for path in pool.unlabelled.clips["path"]] == ["0.wav"]


def test_one_class_can_be_heard_and_not_split(sounds: Path, kept: Path, tmp_path: Path) -> None:
    shutil.copytree(sounds / "high", tmp_path / "dogs" / "dog")
    corpus = Corpus(tmp_path / "dogs", folder=kept, n_jobs=1)
    assert corpus.classes == ["dog"]
    assert len(corpus.unlabelled) == 10
    with pytest.raises(ManifestError, match="only one class: dog"):
        corpus.split()


def test_a_part_of_a_corpus_keeps_its_split(corpus: Corpus) -> None:
    few = corpus.take([*corpus.part("train").clips["clip_id"][:5], *ids(corpus.part("test"))])
    assert len(few) == 11
    train, test = few.split()
    assert ids(test) == ids(corpus.part("test"))
    assert len(train) == 5


def test_several_labels(sounds: Path, kept: Path, tmp_path: Path) -> None:
    rows = [
        f"{sounds / label}/{i}.wav,{label}{';loud' if i % 2 else ''}"
        for label in CLASSES for i in range(10)
    ]  # fmt: skip
    (tmp_path / "list.csv").write_text("\n".join(["path,label", *rows]))
    corpus = Corpus(tmp_path / "list.csv", folder=kept, label_separator=";", n_jobs=1)
    assert corpus.kind is MULTI_LABEL
    assert corpus.classes == ["high", "loud", "low", "mid"]
    assert corpus.part("test").kind is MULTI_LABEL
    assert "high|loud" in corpus.labels


def test_a_public_layout(sounds: Path, tmp_path: Path) -> None:
    for actor in range(1001, 1007):
        for i, emotion in enumerate(("ANG", "HAP")):
            tone(tmp_path / "crema" / "AudioWAV" / f"{actor}_DFA_{emotion}_XX.wav", actor + 9 * i)
    corpus = Corpus(tmp_path / "crema", layout="crema_d", folder=tmp_path, n_jobs=1)
    assert corpus.classes == ["anger", "happiness"]
    assert corpus.groups is not None


def test_the_second_call_decodes_nothing(
    sounds: Path, kept: Path, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extraction, "_extract_shard", None)
    again = Corpus(sounds, folder=kept, n_jobs=1, seed=5)
    assert again.mark == corpus.mark
    assert again.store.path == corpus.store.path
    pd.testing.assert_frame_equal(again.clips, corpus.clips)
    assert ids(again.part("test")) != ids(corpus.part("test"))


def test_another_front_end_is_another_store(sounds: Path, kept: Path, corpus: Corpus) -> None:
    other = Corpus(sounds, folder=kept, front_end=FrontEnd(hop=200), n_jobs=1)
    assert other.mark != corpus.mark
    assert other.store.path != corpus.store.path
    assert other.store.front_end.hop == 200


def test_the_users_cache_is_the_default(
    sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    corpus = Corpus(sounds / "low", n_jobs=1)
    assert corpus.store.path.parent == tmp_path / "unfused"


@pytest.mark.parametrize("name", ["shard-00000.npy", "index.parquet", "store.json"])
def test_a_damaged_store_is_rebuilt(sounds: Path, tmp_path: Path, name: str) -> None:
    first = Corpus(sounds / "mid", folder=tmp_path, n_jobs=1)
    clips = [first.store.clip(row) for row in first.rows]
    file = first.store.path / name
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 8
    file.write_bytes(data)
    os.utime(file, ns=(1, 1))
    again = Corpus(sounds / "mid", folder=tmp_path, n_jobs=1)
    for row, clip in zip(again.rows, clips, strict=True):
        np.testing.assert_array_equal(again.store.clip(row), clip)


def test_audio_that_is_there_already() -> None:
    rng = np.random.default_rng(0)
    log_mels = [[rng.normal(size=(20, 64)).astype("f4")] for _ in range(40)]
    store = LogMelStore.in_memory(FrontEnd(), log_mels)
    clips = pd.DataFrame({"clip_id": store.clip_ids, "label": ["a", "b"] * 20})
    corpus = Corpus.of(store, clips, name="noise")
    train, test = corpus.split()
    assert (len(train), len(test)) == (32, 8)
    assert corpus.statistics == pytest.approx((0, 1), abs=0.02)
    assert corpus.groups is None
    assert repr(corpus) == "Corpus('noise', clips=40, labelled=40, hours=0.00)"
    splits = pd.DataFrame({"clip_id": store.clip_ids, "fold": 0, "split": ["train", "test"] * 20})
    given = Corpus.of(store, clips.assign(corpus="c"), splits)
    assert given.name == "c"
    assert set(given.part("test").labels) == {"b"}
    assert len(Corpus.of(store, clips[["clip_id"]]).unlabelled) == 40
    with pytest.raises(UserError, match="in memory"):
        corpus.save("nowhere")


def test_a_corpus_is_pickled_without_its_frames(corpus: Corpus) -> None:
    text = pickle.dumps(corpus)
    assert len(text) < corpus.store.n_frames.sum() * 64  # half of what the frames take
    again = pickle.loads(text)
    assert ids(again.part("test")) == ids(corpus.part("test"))
    np.testing.assert_array_equal(again.store.clip(3), corpus.store.clip(3))


@pytest.mark.parametrize("split_before", [False, True])
def test_saved_and_loaded(corpus: Corpus, tmp_path: Path, split_before: bool) -> None:
    expected = ids(Corpus.of(corpus.store, corpus.clips).part("test"))
    if split_before:
        corpus.split()
    corpus.save(tmp_path / "saved")
    again = Corpus.load(tmp_path / "saved")
    pd.testing.assert_frame_equal(again.clips, corpus.clips, check_dtype=False)
    pd.testing.assert_frame_equal(again.rejected, corpus.rejected, check_dtype=False)
    assert (again.name, again.mark) == (corpus.name, corpus.mark)
    assert ids(again.part("test")) == expected


def test_parts_are_saved_with_their_split(corpus: Corpus, tmp_path: Path) -> None:
    corpus.split()[0].save(tmp_path)
    corpus.unlabelled.save(tmp_path / "audio")
    train, audio = Corpus.load(tmp_path), Corpus.load(tmp_path / "audio")
    assert ids(train.part("valid")) == ids(corpus.part("valid"))
    assert len(train.part("test")) == 0
    assert ids(audio.unlabelled) == ids(audio) == ids(corpus.unlabelled)
    assert audio.clips["label"].isna().all()


def test_a_project_may_move_as_a_whole_or_away_from_its_log_mels(
    sounds: Path, tmp_path: Path
) -> None:
    corpus = Corpus(sounds / "low", folder=tmp_path / "project" / "log_mels", n_jobs=1)
    corpus.save(tmp_path / "project" / "saved")
    (tmp_path / "project").rename(tmp_path / "moved")
    moved = Corpus.load(tmp_path / "moved" / "saved")
    assert moved.store.path.is_relative_to(tmp_path / "moved")
    moved.save(tmp_path / "moved" / "saved")
    (tmp_path / "moved" / "saved").rename(tmp_path / "elsewhere_saved")
    assert len(Corpus.load(tmp_path / "elsewhere_saved")) == len(corpus)
    shutil.rmtree(tmp_path / "moved")
    with pytest.raises(StoreError, match="does not exist"):
        Corpus.load(tmp_path / "elsewhere_saved")


def test_a_corpus_over_several_stores(sounds: Path, kept: Path, tmp_path: Path) -> None:
    low, mid = (Corpus(sounds / name, folder=kept, n_jobs=1) for name in ("low", "mid"))
    both = Corpus.of(
        LogMelStore.union([low.store, mid.store]), pd.concat([low.clips, mid.clips]), name="both"
    )
    both.save(tmp_path)
    again = Corpus.load(tmp_path)
    assert len(again) == 20
    np.testing.assert_array_equal(again.store.clip(15), both.store.clip(15))


@pytest.mark.parametrize("name", ["clips.parquet", "rejected.parquet", "corpus.json"])
def test_a_damaged_corpus_is_named(corpus: Corpus, tmp_path: Path, name: str) -> None:
    corpus.save(tmp_path)
    data = bytearray((tmp_path / name).read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UserError, match=name):
        Corpus.load(tmp_path)


def test_a_corpus_is_saved_as_a_whole_or_not_at_all(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NotFoundError):
        Corpus.load(tmp_path)
    corpus.save(tmp_path)
    real, count = pd.DataFrame.to_parquet, 0

    def killed(self: pd.DataFrame, *arguments: object, **options: object) -> None:
        nonlocal count
        count += 1
        if count == 2:
            raise KeyboardInterrupt
        real(self, *arguments, **options)

    monkeypatch.setattr(pd.DataFrame, "to_parquet", killed)
    with pytest.raises(KeyboardInterrupt):
        corpus.unlabelled.save(tmp_path)
    with pytest.raises(NotFoundError):
        Corpus.load(tmp_path)


def test_the_shares_of_the_parts(sounds: Path, kept: Path) -> None:
    assert len(Corpus(sounds, folder=kept, test_fraction=0.4, n_jobs=1).part("test")) == 12
