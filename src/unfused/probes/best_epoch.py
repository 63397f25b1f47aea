"""Model selection on validation clips: the weights of the best epoch, kept on disk."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path

import pandas as pd
from torch import nn

from ..core.outputs import write_json
from ..training.checkpoint import CheckpointError, load_checkpoint, save_checkpoint

log = logging.getLogger(__name__)


class BestEpoch:
    """Scores a module after some epochs and keeps its best weights, the earlier ones on a tie.

    Call it with the number of each finished epoch. It may be told an epoch twice, as happens when
    a run is resumed, and goes on with what an interrupted run left in the folder.

    Args:
        module: What is being trained.
        score: Returns its score on validation clips; None: there are none, nothing is kept.
        folder: Gets ``validation.json`` and ``best.pt``.
        mark: Fingerprint of the training, so that no other training's epochs are taken for its.
        every: Epochs from one score to the next.
        n_epochs: Epochs in all; the last one is always scored.
        patience: So many scored epochs in a row without a better one end the training; None: none.

    Attributes:
        epoch: The best epoch so far, if any was scored.
        score: Its score.
        scores: Score of every scored epoch.

    Raises:
        CheckpointError: The folder holds another training.
    """

    def __init__(
        self,
        module: nn.Module,
        score: Callable[[], float] | None,
        *,
        folder: Path,
        mark: str,
        every: int,
        n_epochs: int,
        patience: int | None = None,
    ) -> None:
        self.module, self.mark, self._score_now = module, mark, score
        self.every, self.n_epochs, self.patience = every, n_epochs, patience
        self._weights, self._scores = folder / "best.pt", folder / "validation.json"
        self.scores = self._claim(folder)
        kept = load_checkpoint(self._weights, mark, "cpu")
        self.epoch: int | None = kept["epoch"] if kept else None
        self.score: float | None = kept["score"] if kept else None

    def __call__(self, epoch: int) -> bool:
        """Score the module after ``epoch`` and keep it if it is better than all before.

        Returns:
            Whether to stop training, because patience has run out.
        """
        due = (epoch + 1) % self.every == 0 or epoch + 1 == self.n_epochs
        if self._score_now is None or not due:
            return False
        score = self._score_now()
        log.debug("epoch %d: %.4f on validation", epoch, score)
        if self.score is None or score > self.score:
            self.score, self.epoch = score, epoch
            content = {"epoch": epoch, "score": score, "state": self.module.state_dict()}
            save_checkpoint(self._weights, self.mark, content)
        self.scores[epoch] = score
        self._write()
        since = sum(scored > (self.epoch or 0) for scored in self.scores)
        return self.patience is not None and since >= self.patience

    def restore(self) -> None:
        """Give the module the weights of the best epoch; without validation, leave the last."""
        kept = load_checkpoint(self._weights, self.mark, "cpu")
        if kept is not None:
            self.module.load_state_dict(kept["state"])
            log.info("best after epoch %d: %.3f on validation", kept["epoch"] + 1, kept["score"])

    def table(self) -> pd.DataFrame:
        """Return the scores by epoch, columns epoch and score."""
        pairs = sorted(self.scores.items())
        return pd.DataFrame(pairs, columns=["epoch", "score"])

    def _claim(self, folder: Path) -> dict[int, float]:
        if self._scores.exists():
            written = json.loads(self._scores.read_text(encoding="utf-8"))
            if written["fingerprint"] != self.mark:
                raise CheckpointError(
                    f"{folder} holds a training on other clips, labels, weights or settings; "
                    "delete it, or train into another folder"
                )
            return {int(epoch): score for epoch, score in written["scores"].items()}
        folder.mkdir(parents=True, exist_ok=True)
        self.scores = {}
        self._write()
        return {}

    def _write(self) -> None:
        write_json(self._scores, {"fingerprint": self.mark, "scores": self.scores})
