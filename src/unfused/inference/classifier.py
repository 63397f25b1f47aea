"""A classifier of audio: an embedder, a probe on it, and what they say about new recordings."""

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from ..core.errors import UserError, must_be
from ..core.outputs import mark_of, whole
from ..data.log_mel import FrontEnd
from ..embeddings.embedder import Device, Embedder, EncoderEmbedder, as_embedder, load_embedder
from ..embeddings.read_out import MAX_SECONDS, Floats, ReadOut
from ..probes.head import Head, load_head, save_head
from ..probes.probe import SELF_TRAINING, Probe
from ..probes.results import score_labels
from ..probes.self_training import Unlabelled
from ..tasks.corpus import Corpus
from ..tasks.label_kinds import SINGLE_LABEL
from ..tasks.leakage import check_no_leak
from .recordings import PLACE, Recordings, recordings_of, segments_of

_SEEN_FILE = "seen.parquet"
_SEEN = ("corpus", "clip_id", "digest", "offset", "frames")
UNKNOWN = "unknown"  # the label of what is silent, or like none of the classes
SILENT_DB = 50.0  # a segment that is so much quieter than the loudest of its recording is silent
STRANGE = 3.0  # above it a sound is none of the classes, see unfused.probes.calibration


class Prediction(NamedTuple):
    """What a classifier says about one clip or recording.

    Attributes:
        label: The most likely class; where clips have several labels, all that are likely enough,
            with bars between (possibly none); ``unknown`` if it is silent or none of the classes.
        probability: That of the most likely class.
        probabilities: Class -> how likely it is, the most likely first. They sum to 1 where clips
            have one label, and are independent where they have several.
        strangeness: By how many standard deviations less it looks like any class than held-out
            clips did; silence has infinity.
        segments: How many segments were heard.
        path: Of the file; "" of samples.
    """

    label: str
    probability: float
    probabilities: dict[str, float]
    strangeness: float
    segments: int = 1
    path: str = ""


class Classified(NamedTuple):
    """What a classifier says about recordings, segment by segment.

    Attributes:
        predictions: Columns path, start_seconds, end_seconds (within the file), label, probability,
            unknown (whether it is silent or none of the classes), strangeness, top_1,
            probability_1, ...; one row for each segment.
        embeddings: Columns path, start_seconds, end_seconds, e0, e1, ...; the same rows.
        rejected: Recordings that cannot be used, columns path and reason.
    """

    predictions: pd.DataFrame
    embeddings: pd.DataFrame
    rejected: pd.DataFrame


class _Heard(NamedTuple):
    """What is known of S segments: where they lie, vectors (S, D), probabilities (S, C) ..."""

    places: pd.DataFrame
    vectors: Floats
    probabilities: Floats
    strangeness: Floats
    rejected: pd.DataFrame


class Classifier(BaseEstimator):
    """A probe on an embedder, as scikit-learn's estimators are used.

    Args:
        encoder: A fitted method, ``load_encoder(...)``, an embedder, the name, settings or folder
            of one, or a list; see :func:`unfused.embeddings.embedder.as_embedder`.
        read_out: How encoders are read out; None:
            :data:`~unfused.embeddings.read_out.USUAL`. An embedder brings its own.
        seed: Seed of the folds that choose where there are no validation clips.
        device: Where to compute: ``auto`` (cuda, else mps, else cpu), or one of them.

    Attributes:
        embedder_: Embeds clips.
        head_: Turns vectors into probabilities.
        seen_: Clips that encoder or probe were fitted on: corpus, clip_id, digest.

    >>> model = Classifier("mfcc_statistics").fit(train)  # doctest: +SKIP
    >>> model.score(test), model.predict("new_recordings")  # doctest: +SKIP
    """

    embedder_: Embedder
    head_: Head
    seen_: pd.DataFrame

    def __init__(
        self,
        encoder: Any,
        *,
        read_out: ReadOut | None = None,
        seed: int = 0,
        device: Device = "auto",
    ) -> None:
        self.encoder, self.read_out = encoder, read_out
        self.seed, self.device = seed, device

    def __repr__(self) -> str:
        if not hasattr(self, "head_"):
            return f"Classifier({self.encoder!r})"
        name, classes = self.embedder_.name, len(self.classes_)
        return f"Classifier({name!r}, classes={classes}, cv_score={self.cv_score_:.3f})"

    @property
    def classes_(self) -> NDArray[np.str_]:
        """Names of the classes, (C,)."""
        return self.head_.classes

    @property
    def digest_(self) -> str:
        """Identifies what it computes."""
        return mark_of(embedder=self.embedder_.digest, weight=self.head_.linear.weight)

    @property
    def facts_(self) -> dict[str, Any]:
        """What it was fitted on and how, JSON values."""
        return self.head_.provenance

    @property
    def cv_score_(self) -> float:
        """Balanced accuracy of the held-out clips that the probe was chosen on, NaN without any.

        With several labels a clip: mAP.
        """
        return float(self.facts_.get("cv_score", np.nan))

    @property
    def front_end_(self) -> FrontEnd:
        """How log-mels are made."""
        if isinstance(self.embedder_, EncoderEmbedder):
            return self.embedder_.front_end
        return FrontEnd(**self.facts_["front_end"])

    def fit(self, corpus: Corpus, vectors: Floats | None = None) -> Self:
        """Embed the clips, choose a probe, and fit it on all that have a label.

        It is chosen on the corpus's validation part or, where that is too small, by folds. Where
        labels are few it learns from the clips without one, too.

        Args:
            corpus: Clips, some or all of them with labels.
            vectors: The embedder's of its :attr:`~unfused.tasks.corpus.Corpus.for_probes`, (N, D),
                where they are there already.

        Raises:
            UserError: No embedder, fewer than two classes, or clips that cannot be embedded.
        """
        embedder, heard = as_embedder(self.encoder, self.read_out), corpus.for_probes
        labelled, named = heard.labelled, heard.clips["label"].notna().to_numpy()
        valid = labelled.clips["clip_id"].isin(labelled.part("valid").clips["clip_id"])
        if vectors is None:
            vectors = embedder.embed(heard, device=self.device)
        if vectors.shape != (expected := (len(heard), embedder.dim)):
            raise UserError(f"vectors of shape {vectors.shape} must be {expected}")
        without = None
        if embedder.n_parameters and not named.all():
            without = Unlabelled(vectors[~named])
        probe = Probe(seed=self.seed, kind=labelled.kind).fit(
            vectors if named.all() else vectors[named], labelled.labels,
            valid=valid.to_numpy(), groups=labelled.groups, unlabelled=without,
        )  # fmt: skip
        seen = heard.clips if probe.setting_ == SELF_TRAINING else labelled.clips
        known = [name for name in _SEEN if name in seen]
        self.embedder_ = embedder
        self.seen_ = pd.concat([embedder.trained_on, seen[known]], ignore_index=True)
        self.head_ = Head.of_probe(
            probe, task=labelled.name, n_train=len(labelled), cv_score=probe.validation_,
            front_end=labelled.store.front_end.settings(), **labelled.facts(),
        )  # fmt: skip
        return self

    def score(self, corpus: Corpus) -> float:
        """Return the accuracy on labelled clips; where they have several labels, the mAP.

        Raises:
            LeakError: Encoder or probe have seen some of the clips.
            UserError: A clip has no label.
        """
        check_is_fitted(self)
        check_no_leak(self.seen_, corpus.clips)
        vectors = self.embedder_.embed(corpus, device=self.device)
        return self.scored(self.head_.probabilities(vectors), corpus)

    def scored(self, probabilities: Floats, corpus: Corpus) -> float:
        """Return how good probabilities (N, C) of a corpus's clips are, as in :meth:`score`."""
        kind, labels = self.head_.kind, corpus.labels
        if kind is SINGLE_LABEL:
            return float((self.classes_[probabilities.argmax(1)] == labels).mean())
        return score_labels(probabilities, self.classes_, kind, labels)

    def predict(self, audio: Any, *, sample_rate: int | None = None) -> Any:
        """Classify recordings or clips, each as a whole.

        A recording that is longer than training clips is cut into segments as in :meth:`classify`;
        its probabilities are the mean over those with a sound of the classes. A corpus's clips stay
        whole.

        Args:
            audio: A path, samples (N,) or (channels, N) in [-1, 1], or a list of either; a folder,
                a table of paths, or a corpus.
            sample_rate: Rate of samples in Hz; a file knows its own.

        Returns:
            The prediction of one path or samples, else a list of predictions.

        Raises:
            UnreadableAudio: A file that was named cannot be used, or samples are not finite.
            UserError: Samples without their rate or of a wrong shape, an empty list or folder.
        """
        check_is_fitted(self)
        if isinstance(audio, Corpus):
            vectors = self.embedder_.embed(audio, device=self.device)
            likely, strange = self.head_.probabilities(vectors), self.head_.strangeness(vectors)
            rows = enumerate(audio.clips["path"])
            return [self._prediction(likely[[i]], strange[[i]], path) for i, path in rows]
        with recordings_of(audio, sample_rate) as found:
            heard = self._heard(found)
        likely, strange = heard.probabilities, heard.strangeness
        groups = heard.places.groupby(["recording", "path"]).indices.items()
        said = [self._prediction(likely[of], strange[of], str(path)) for (_, path), of in groups]
        return said if found.several else said[0]

    def classify(
        self,
        audio: Any,
        *,
        sample_rate: int | None = None,
        segment_seconds: float | None = None,
        hop_seconds: float | None = None,
        top_k: int = 5,
    ) -> Classified:
        """Classify recordings segment by segment, however long they are, in constant memory.

        Args:
            audio: As for :meth:`predict`, but for a corpus; or a table with the columns path,
                offset, frames and sample_rate.
            sample_rate: Rate of samples in Hz.
            segment_seconds: Length of a segment; None: as long as the training clips.
            hop_seconds: From one segment's start to the next; None: a segment.
            top_k: How many of the most likely classes are listed.

        Raises:
            UserError: Nothing can be used, or an argument has no meaning.
        """
        check_is_fitted(self)
        must_be("at least 1", top_k=top_k)
        with recordings_of(audio, sample_rate) as found:
            heard = self._heard(found, segment_seconds, hop_seconds)
        places, likely = heard.places[PLACE], heard.probabilities
        order = np.argsort(-likely, axis=1, kind="stable")[:, :top_k]
        ranked, names = np.take_along_axis(likely, order, axis=1).round(4), self.classes_[order]
        unknown = heard.strangeness > STRANGE
        columns: dict[str, Any] = {
            "label": np.where(unknown, UNKNOWN, self.head_.named(likely)),
            "probability": ranked[:, 0],
            "unknown": unknown,
            "strangeness": heard.strangeness.round(2),
        }
        for k in range(ranked.shape[1]):
            columns |= {f"top_{k + 1}": names[:, k], f"probability_{k + 1}": ranked[:, k]}
        said = pd.concat([places, pd.DataFrame(columns)], axis=1)
        embeddings = pd.concat([places, pd.DataFrame(heard.vectors).add_prefix("e")], axis=1)
        return Classified(said, embeddings, heard.rejected)

    @property
    def segment_seconds_(self) -> float:
        """How long segments are: at least a second, and as long as the longest training clip.

        Where that is more than 12 seconds, as the median clip if that is longer.
        """
        longest, median = self.facts_["longest_seconds"], self.facts_["median_seconds"]
        return float(max(1.0, min(longest, max(MAX_SECONDS, median))))

    def save(self, folder: str | Path) -> None:
        """Write it into a folder that needs no other, with a record of its files last."""
        check_is_fitted(self)
        provenance = {**self.facts_, "embedder": self.embedder_.digest}
        with whole(Path(folder)) as path:
            self.embedder_.save(path)
            self.seen_.to_parquet(path / _SEEN_FILE)
            save_head(path, replace(self.head_, provenance=provenance))

    def _heard(
        self, found: Recordings, seconds: float | None = None, hop: float | None = None
    ) -> _Heard:
        damaged, places, vectors = dict[int, str](), [], []
        length = self.segment_seconds_ if seconds is None else seconds
        how = length, hop or length, None if found.named else damaged
        for corpus in segments_of(found.table, self.front_end_, *how):
            places.append(corpus.clips[["recording", *PLACE, "level"]])
            vectors.append(self.embedder_.embed(corpus, device=self.device))
        shown = found.table["shown"].to_numpy()
        bad = {"path": shown[list(damaged)], "reason": list(damaged.values())}
        rejected = pd.concat([found.rejected, pd.DataFrame(bad)], ignore_index=True)
        if len(damaged) == len(shown):
            raise UserError(f"no recording can be used: {rejected.to_dict('records')[:3]}")
        place, matrix = pd.concat(places, ignore_index=True), np.concatenate(vectors)
        whole = ~place["recording"].isin(list(damaged)).to_numpy()
        place, matrix = place[whole].reset_index(drop=True), matrix[whole]
        place["path"] = shown[place["recording"]]
        loudest = place.groupby("recording")["level"].transform("max")
        silent = place["level"] < np.maximum(loudest * 10 ** (-SILENT_DB / 10), self.front_end_.eps)
        strangeness = np.where(silent, np.inf, self.head_.strangeness(matrix))
        return _Heard(place, matrix, self.head_.probabilities(matrix), strangeness, rejected)

    def _prediction(self, probabilities: Floats, strangeness: Floats, path: str) -> Prediction:
        """Return what several segments say together, (S, C) and (S,)."""
        known = strangeness <= STRANGE
        heard = known if known.any() else np.ones(len(known), bool)
        likely = probabilities[heard].mean(0)
        label = str(self.head_.named(likely[None])[0]) if known.any() else UNKNOWN
        order = np.argsort(-likely, kind="stable")
        named = {str(self.classes_[c]): float(likely[c]) for c in order}
        strange = float(strangeness[heard].mean())
        return Prediction(label, float(likely.max()), named, strange, len(known), path)


def load_classifier(folder: str | Path, *, trust_code: bool = False) -> Classifier:
    """Read a classifier; neither the data that it was fitted on nor a project are needed.

    :meth:`Classifier.save` wrote it, a run's pipeline, or a network's training. ``trust_code`` runs
    code that the folder names, too: an encoder from outside may be a function.

    Raises:
        NotFoundError: There is no classifier in ``folder``.
        UserError: What is there is damaged, unfinished, does not fit this version, or names code.
    """
    path = Path(folder)
    head, embedder = load_head(path), load_embedder(path, trust_code=trust_code)
    made_on = head.provenance.get("embedder", embedder.digest)
    if made_on != embedder.digest or head.dim != embedder.dim:
        raise UserError(f"the head in {path} was fitted on another embedder: copy the folder again")
    model, seen = Classifier(embedder), path / _SEEN_FILE
    model.embedder_, model.head_ = embedder, head
    model.seen_ = pd.read_parquet(seen) if seen.is_file() else embedder.trained_on
    return model
