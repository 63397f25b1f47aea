"""Trained models: which one, on what, and for whom."""

from typing import Any, Literal

from pydantic import Field

from .audio import Audio
from .model import Model


class TrainedModel(Model):
    """Which trained model a run keeps for new audio, and for others.

    Attributes:
        task: Whose labels it predicts; null: the run's first.
        encoder: ``best`` on validation clips among all that the run has, or a label of the results:
            ``unfused`` (the student), a method, ``mfcc_statistics``, ``supervised`` ...
        source: Where the pseudo-labels of a student came from; null: any but controls.
        read_out: How its encoder is read out, as results name it; null: the best on validation.
        protocol: A linear probe on the frozen encoder, or a network that was trained end to end;
            null: the better on validation.
        seed: Seed of the repeat; null: the best on validation.
        fold: Fold of the repeat; null: the best on validation.
    """

    task: str | None = None
    encoder: str = "best"
    source: str | None = None
    read_out: str | None = None
    protocol: Literal["linear_probe", "fine_tuning"] | None = None
    seed: int | None = None
    fold: int | None = Field(None, ge=0)

    def asked(self) -> dict[str, Any]:
        """Return columns of the results and what they must be; None: anything."""
        names = ("source", "read_out", "protocol", "seed", "fold")
        encoder = None if self.encoder == "best" else self.encoder
        return {"encoder": encoder, **{name: getattr(self, name) for name in names}}


class Classify(Audio):
    """New audio, and how it is classified.

    Attributes:
        audio: A file, a folder, several of them, or a table with a column path.
        labels: None of new audio are read.
        segment_seconds: Length of the pieces that long files are cut into; null: as the longest
            training clip, at most 12 s.
        hop_seconds: From one piece's start to the next; null: a whole piece.
        top_k: How many of the most likely classes are listed.
        label_tracks: Write a label track for each recording too, of Audacity's or Raven's format.
    """

    labels: Literal["none"] = "none"
    window_seconds: None = None
    segment_seconds: float | None = Field(None, gt=0)
    hop_seconds: float | None = Field(None, gt=0)
    top_k: int = Field(5, ge=1)
    label_tracks: Literal["audacity", "raven"] | None = None


class LabelNext(Model):
    """Which clips of the audio that was classified last are shown, to be labelled.

    Attributes:
        n_clips: How many.
        per_clip: Among so many doubtful ones for each that is shown, different ones are looked for.
        like: A recording; those most like it are shown in place of the most doubtful ones.
        labels: A table of labels given before; its clips are not shown again.
        seed: Of their choice.
    """

    n_clips: int = Field(50, ge=1)
    per_clip: int = Field(10, ge=1)
    like: str | None = None
    labels: str | None = None
    seed: int = 0


class Export(Model):
    """What an exported model consists of.

    Attributes:
        onnx: Write the encoder as ONNX too, where the extra ``onnx`` is installed.
    """

    onnx: bool = True
