"""The public data sets: words, speakers, emotions, scenes, events, birds, notes, genres, tags."""

import json
import re
from pathlib import Path

import pandas as pd

from ...data.reading import probe
from .layout import LayoutError, layout, named, needed, one_of, read_csv, read_lists

_KEYWORDS = ("down", "go", "left", "no", "off", "on", "right", "stop", "up", "yes")
_NOISE = "_background_noise_"
_IEMOCAP = re.compile(r"^\[[\d.]+ - [\d.]+\]\t(?P<name>\S+)\t(?P<emotion>\w+)\t", re.M)
_CREMA_D = {"ANG": "anger", "DIS": "disgust", "FEA": "fear", "HAP": "happiness", "NEU": "neutral",
            "SAD": "sadness"}  # fmt: skip
_BIRDS = {
    "ff1010bird": ("ff1010bird_metadata_2018.csv", "ff1010bird_metadata.csv"),
    "warblrb10k": ("warblrb10k_public_metadata_2018.csv", "warblrb10k_public_metadata.csv"),
}
_NSYNTH = {"family": "instrument_family_str", "pitch": "pitch"}
_MAGNATAGATUNE = {
    **dict.fromkeys("0123456789ab", "train"), "c": "valid", **dict.fromkeys("def", "test")
}  # fmt: skip


@layout
def speech_commands(folder: Path, *, classes: str = "35") -> pd.DataFrame:
    """List Speech Commands 0.01 or 0.02 with the official lists; a speaker is a group.

    (Warden 2018, arXiv 1804.03209.) ``classes`` is ``35`` (all words; 30 in version 0.01) or
    ``12``: every word that is no keyword is ``unknown``, and ``silence`` is cut out of the
    background noise in pieces of one second: of every noise the first 80 % train, then 10 %
    validate and 10 % test.
    """
    few = one_of("classes", classes, ("12", "35")) == "12"
    splits = read_lists(folder, valid="validation_list.txt", test="testing_list.txt")
    words = named(folder, rf"(?P<label>(?!{_NOISE})[^/]+)/(?P<group>[^/]+?)(_nohash_[^/]*)?\.wav")
    words["split"] = words["path"].map(splits).fillna("train")
    if not few:
        return words
    words["label"] = words["label"].where(words["label"].isin(_KEYWORDS), "unknown")
    rows = []
    for path in named(folder, rf"{_NOISE}/[^/]+\.wav")["path"]:
        info = probe(folder / path)
        seconds = info.frames // info.sample_rate
        for second in range(seconds):
            split = "train" if second < 0.8 * seconds else "valid"
            split = split if second < 0.9 * seconds else "test"
            rows.append([path, "silence", split, "", second * info.sample_rate, info.sample_rate])
    if not rows:
        raise LayoutError(f"{folder / _NOISE} has no noise to cut silence from: unpack all of it")
    columns = ["path", "label", "split", "group", "offset", "frames"]
    return pd.concat([words, pd.DataFrame(rows, columns=columns)])


@layout
def librispeech(folder: Path, *, label: str = "speaker") -> pd.DataFrame:
    """List ``<speaker>/<chapter>/<speaker>-<chapter>-<utterance>.flac`` (Panayotov et al. 2015).

    The folder is ``train-clean-100`` (251 speakers) or ``LibriSpeech`` above it; there is no
    official split for speaker identification. LAPE's 585 speakers are those of Kaldi's recipe,
    which takes every chapter for one: ``label`` is ``speaker`` or ``chapter``.
    """
    one_of("label", label, ("speaker", "chapter"))
    name = r"(?P<speaker>[^/-]+)-(?P<chapter>[^/-]+)-[^/-]+\.flac"
    below = named(folder, rf"(LibriSpeech/)?train-clean-100/(.*/)?{name}")
    found = named(folder, rf"(.*/)?{name}") if below.empty else below
    return found.rename(columns={label: "label"})[["path", "label"]]


@layout
def voxceleb1(folder: Path) -> pd.DataFrame:
    """List ``wav/<id>/<video>/<clip>.wav`` by ``iden_split.txt``: 1 train, 2 valid, 3 test.

    (Nagrani et al. 2017, arXiv 1706.08612.) The parts share speakers, as identification must, and
    no video.
    """
    columns = ["part", "name"]
    lists = needed(folder, "iden_split.txt", "meta/iden_split.txt")
    table = read_csv(lists, columns, sep=r"\s+", names=columns, header=None)
    split = table["part"].map({"1": "train", "2": "valid", "3": "test"})
    if split.isna().any():
        wrong = table["part"][split.isna()].iloc[0]
        raise LayoutError(f"{lists}: part {wrong!r} is none of 1, 2, 3")
    label = table["name"].str.split("/").str[0]
    return pd.DataFrame({"path": "wav/" + table["name"], "label": label, "split": split})


@layout
def voxforge(folder: Path) -> pd.DataFrame:
    """List ``<language>/.../<speaker>-<date>-<id>/wav/*.wav``, six languages; a speaker is a group.

    The archives may lie as they were fetched, ``<language>/Trunk/Audio/...``. Submissions without
    a name (``anonymous``) are a group each. Only WAV files are listed, as the published counts are.
    """
    found = named(
        folder, r"(?P<label>de|en|es|fr|it|ru)/(.*/)?(?P<group>(?!wav/)[^/]+)/(wav/)?[^/]+\.wav"
    )
    speaker = found["group"].str.split("-").str[0].str.lower()
    unnamed = speaker.str.startswith("anonymous")
    return found.assign(group=found["label"] + "/" + speaker.mask(unnamed, found["group"]))


@layout
def iemocap(folder: Path, *, emotions: str = "neu,ang,sad,hap") -> pd.DataFrame:
    """List IEMOCAP's utterances of some emotions; a session is a fold, a speaker a group.

    (Busso et al. 2008.) The evaluations stand in ``Session<n>/dialog/EmoEvaluation/*.txt``, the
    audio in ``Session<n>/sentences/wav/<dialogue>/<utterance>.wav``. ``emotions`` are codes with
    commas between; the four of LAPE are 4,490 utterances.
    """
    rows = []
    for session in range(1, 6):
        root = needed(folder, f"Session{session}")
        for table in sorted((root / "dialog" / "EmoEvaluation").glob("*.txt")):
            for name, emotion in _IEMOCAP.findall(table.read_text("utf-8", errors="replace")):
                dialogue, turn = name.rsplit("_", 1)
                path = f"{root.name}/sentences/wav/{dialogue}/{name}.wav"
                rows.append([path, emotion, session, f"{session}{turn[0]}"])
    found = pd.DataFrame(rows, columns=["path", "label", "fold", "group"])
    return found[found["label"].isin(emotions.split(","))]


@layout
def crema_d(folder: Path) -> pd.DataFrame:
    """List ``AudioWAV/<actor>_<sentence>_<emotion>_<level>.wav`` (Cao et al. 2014).

    An actor is a group; there is no official split.
    """
    found = named(folder, r"AudioWAV/(?P<group>[^_/]+)_[^_/]+_(?P<label>[^_/]+)_[^/]*\.wav")
    if unknown := sorted(set(found["label"]) - set(_CREMA_D)):
        raise LayoutError(f"{folder}: {unknown[0]!r} is no emotion of {sorted(_CREMA_D)}")
    return found.assign(label=found["label"].map(_CREMA_D))


@layout
def tut_urban_2018(folder: Path) -> pd.DataFrame:
    """List TUT Urban Acoustic Scenes 2018 by its fold 1: train, and evaluate as test.

    (Mesaros et al. 2018, arXiv 1807.09840.) A clip's place (``identifier``) is a group, so the
    validation part that is cut from training shares no place with it.
    """
    names = {"filename": "path", "scene_label": "label", "identifier": "group"}
    meta = read_csv(needed(folder, "meta.csv"), names, sep="\t")
    splits: dict[str, str] = {}
    for split, file in (("train", "fold1_train.txt"), ("test", "fold1_evaluate.txt")):
        lists = needed(folder, f"evaluation_setup/{file}")
        listed = pd.read_csv(lists, sep="\t", header=None, dtype=str)[0]
        splits |= dict.fromkeys(listed, split)
    meta = meta[meta["filename"].isin(splits)]
    return meta.rename(columns=names).assign(split=meta["filename"].map(splits))


@layout
def urbansound8k(folder: Path) -> pd.DataFrame:
    """List UrbanSound8K with its ten folds (Salamon et al. 2014); a recording is a group."""
    columns = ["slice_file_name", "fsID", "fold", "class"]
    meta = read_csv(needed(folder, "metadata/UrbanSound8K.csv"), columns)
    path = "audio/fold" + meta["fold"] + "/" + meta["slice_file_name"]
    return meta.rename(columns={"class": "label", "fsID": "group"}).assign(path=path)


@layout
def esc50(folder: Path, *, esc10: bool = False) -> pd.DataFrame:
    """List ESC-50, or only ESC-10, with its five folds (Piczak 2015); a recording is a group."""
    columns = ["filename", "fold", "category", "esc10", "src_file"]
    meta = read_csv(needed(folder, "meta/esc50.csv"), columns)
    if esc10:
        meta = meta[meta["esc10"].str.lower() == "true"]
    path = "audio/" + meta["filename"]
    return meta.rename(columns={"category": "label", "src_file": "group"}).assign(path=path)


@layout
def bird_audio_detection(folder: Path) -> pd.DataFrame:
    """List freefield1010 and warblr (Stowell et al. 2018, arXiv 1807.05812): bird or no bird.

    The CSVs have ``itemid, datasetid, hasbird``; audio lies anywhere below the folder as
    ``<itemid>.wav``. There is no official split of the development data.
    """
    audio = named(folder, r"(.*/)?(?P<item>[^/]+)\.wav").set_index("item")["path"]
    tables = [read_csv(needed(folder, *names), ["itemid", "hasbird"]) for names in _BIRDS.values()]
    meta = pd.concat(tables, ignore_index=True)
    has_bird = meta["hasbird"].str.strip().str.startswith("1")
    return pd.DataFrame({
        "path": meta["itemid"].map(audio.to_dict()).fillna(meta["itemid"] + ".wav"),
        "label": has_bird.map({True: "bird", False: "no bird"}),
    })  # fmt: skip


@layout
def nsynth(folder: Path, *, label: str = "family") -> pd.DataFrame:
    """List NSynth's ``nsynth-<part>/audio/<note>.wav`` (Engel et al. 2017, arXiv 1704.01279).

    ``label`` is ``family`` (11 classes, ``synth_lead`` only in training) or ``pitch``. An
    instrument is a group; training shares none with the other parts.
    """
    column = _NSYNTH[one_of("label", label, _NSYNTH)]
    rows = []
    for split in ("train", "valid", "test"):
        part = needed(folder, f"nsynth-{split}")
        examples = json.loads(needed(part, "examples.json").read_text(encoding="utf-8"))
        for note, facts in examples.items():
            path = f"{part.name}/audio/{note}.wav"
            rows.append([path, facts[column], split, facts["instrument_str"]])
    return pd.DataFrame(rows, columns=["path", "label", "split", "group"])


@layout
def gtzan(folder: Path) -> pd.DataFrame:
    """List GTZAN with the artist-filtered split (Kereliuk et al. 2015), 443/197/290 clips.

    The audio is ``genres/<genre>/<genre>.<number>.wav`` (or ``genres_original``); the split's lists
    (``train_filtered.txt`` ...) lie beside it and name files of the audio folder.
    """
    root = needed(folder, "genres", "genres_original").name
    names = {split: f"{split}_filtered.txt" for split in ("train", "valid", "test")}
    rows = [
        [Path(root, line).with_suffix(".wav").as_posix(), Path(line).parts[0], split]
        for line, split in read_lists(folder, **names).items()
    ]
    return pd.DataFrame(rows, columns=["path", "label", "split"])


@layout
def audioset(folder: Path, *, training: str = "balanced") -> pd.DataFrame:
    """List AudioSet's segments (Gemmeke et al. 2017); labels are its machine ids.

    ``training`` is ``balanced`` or ``unbalanced``. The audio is not distributed: every clip that
    was fetched is found by its YouTube id, ``[Y]<id>[_<start>].<suffix>``, anywhere below the
    folder; the others are listed too, and end among the rejected files.
    """
    one_of("training", training, ("balanced", "unbalanced"))
    listed = named(folder, r"(.*/)?(?P<stem>[^/]+)\.(wav|flac|opus)")
    audio = dict(zip(listed["stem"], listed["path"], strict=True))
    columns, rows = ["ytid", "start", "end", "labels"], []
    for part, split in ((f"{training}_train", "train"), ("eval", "test")):
        table = read_csv(
            needed(folder, f"{part}_segments.csv"), columns, names=columns, header=None,
            skiprows=3, skipinitialspace=True, quotechar='"',
        )  # fmt: skip
        for video, start, _, labels in table.itertuples(index=False):
            second = float(start)
            ends = ("", f"_{second:g}", f"_{int(1000 * second)}")
            stems = (f"{first}{video}{end}" for end in ends for first in ("", "Y"))
            path = next((audio[stem] for stem in stems if stem in audio), f"{video}.wav")
            rows.append([path, labels, split])
    return pd.DataFrame(rows, columns=["path", "label", "split"])


@layout
def fsd50k(folder: Path) -> pd.DataFrame:
    """List FSD50K (Fonseca et al. 2020, arXiv 2010.00475) with its train, val and eval parts."""
    truth = needed(folder, "FSD50K.ground_truth")
    dev = read_csv(needed(truth, "dev.csv"), ["fname", "labels", "split"])
    test = read_csv(needed(truth, "eval.csv"), ["fname", "labels"])
    parts = [
        dev.assign(path="FSD50K.dev_audio/" + dev["fname"] + ".wav"),
        test.assign(path="FSD50K.eval_audio/" + test["fname"] + ".wav", split="test"),
    ]
    return pd.concat(parts).rename(columns={"labels": "label"})


@layout
def fsdkaggle2019(folder: Path) -> pd.DataFrame:
    """List FSDKaggle2019 (Fonseca et al. 2019, arXiv 1906.02975): curated training and test."""
    tables = []
    for part, split in (("train_curated", "train"), ("test", "test")):
        file = needed(folder, f"FSDKaggle2019.meta/{part}_post_competition.csv")
        table = read_csv(file, ["fname", "labels"]).rename(columns={"labels": "label"})
        path = f"FSDKaggle2019.audio_{part}/" + table["fname"]
        tables.append(table.assign(path=path, split=split))
    return pd.concat(tables)


@layout
def magnatagatune(folder: Path, *, tags: int = 50) -> pd.DataFrame:
    """List MagnaTagATune (Law et al. 2009) with the most frequent tags; a song is a group.

    ``annotations_final.csv`` has ``clip_id``, one column of 0 and 1 per tag and ``mp3_path``,
    ``<folder>/<artist>-<album>-<track>-<title>-<start>-<end>.mp3``. The parts are those of the
    literature: folders 0 to b train, c validate, d to f test. Clips without any of the chosen tags
    are left out.
    """
    table = read_csv(needed(folder, "annotations_final.csv"), ["clip_id", "mp3_path"], sep="\t")
    hits = table.drop(columns=["clip_id", "mp3_path"]) == "1"
    chosen = hits.sum().sort_values(ascending=False, kind="stable").index[:tags]
    path = table["mp3_path"]
    found = pd.DataFrame({
        "path": path, "split": path.str[0].map(_MAGNATAGATUNE),
        "group": path.str.replace(r"-\d+-\d+\.mp3$", "", regex=True),
        "label": [",".join(chosen[row]) for row in hits[chosen].to_numpy()],
    })  # fmt: skip
    return found[found["label"] != ""]
