"""What estimators that train an encoder share: parameters, the way into the loop, saving.

scikit-learn reads the parameters of an estimator off its constructor. Here most come from a
method or from the settings of the loop: the constructor takes those as ``**further``, and its
signature shows them by name.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
import torch
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from ..core.distributed import rank
from ..core.outputs import OutputFolder
from ..core.seeding import derive_seed
from ..encoders.encoder import Encoder
from ..encoders.registry import Setting, check_settings, create
from ..encoders.trained import TrainedEncoder, provenance, save_encoder
from ..methods.method import Method
from ..tasks.corpus import Corpus
from ..views.make_views import ViewMaker
from .batches import CropSource
from .history import save_history
from .loop import fit
from .precision import pick_device
from .settings import TrainingSettings

NAMES = {item.name: item.name for item in fields(TrainingSettings)}
"""The loop's settings and the names that estimators have for them."""
NAMES["momentum"] = "optimiser_momentum"  # methods have a momentum of their own


class LoopEstimator(BaseEstimator):
    """Training of an encoder, with scikit-learn's conventions."""

    further: ClassVar[Mapping[str, Setting]]  # what the constructor takes as **further
    clip_updates_usual: ClassVar[int]  # length of a training that is told none
    kept: ClassVar[str]  # the fitted attribute that `save` writes
    encoder: str
    encoder_settings: Mapping[str, Any] | None
    seed: int
    device: str
    folder: str | Path | OutputFolder | None
    history_: pd.DataFrame
    trained_on_: pd.DataFrame

    def _take(self, further: Mapping[str, Any]) -> None:
        """Set what came as ``**further``, or its default."""
        check_settings(type(self).__name__, further, self._get_param_names())
        for name, (_, usual) in self.further.items():
            setattr(self, name, further.get(name, usual))

    def set_params(self, **parameters: Any) -> Self:
        """Change parameters and return the estimator; a UserError names what is unknown."""
        check_settings(type(self).__name__, parameters, self._get_param_names())
        return super().set_params(**parameters)

    @property
    def training(self) -> TrainingSettings:
        """The settings of the training loop."""
        given = {name: getattr(self, parameter) for name, parameter in NAMES.items()}
        if given["epochs"] is None and given["clip_updates"] is None:
            given["clip_updates"] = self.clip_updates_usual
        return TrainingSettings(**given)

    def save(self, folder: str | Path) -> None:
        """Write the trained encoder, what it was trained on, and the learning curve.

        :func:`unfused.load_encoder` reads the encoder.

        Raises:
            NotFittedError: :meth:`fit` was not called.
        """
        check_is_fitted(self, self.kept)
        save_encoder(folder, getattr(self, self.kept), self.trained_on_)
        save_history(Path(folder), self.history_)

    @contextmanager
    def _outputs(self) -> Iterator[OutputFolder]:
        """Give the folder of outputs; without one, another for as long as it is looked at."""
        with TemporaryDirectory() as nowhere:
            place = self.folder or nowhere
            yield place if isinstance(place, OutputFolder) else OutputFolder(Path(place))

    def _train(
        self, folder: Path, corpus: Corpus, method: Method, views: ViewMaker, title: str
    ) -> None:
        """Train a method in place and leave its curve in the folder; go on with what is there."""
        with crop_source(corpus, method, self.training, self.seed, self.device) as source:
            history = fit(
                method, source, views, self.training,
                folder=folder, seed=self.seed, device=self.device, title=title,
            )  # fmt: skip
        if rank() == 0:
            save_history(folder, history)

    def _keep(
        self, folder: Path, encoder: Encoder, corpus: Corpus, views: ViewMaker, **facts: Any
    ) -> None:
        """Save an encoder, what it needs of the corpus it was trained on, and the facts."""
        front_end = corpus.store.front_end.settings()
        record = provenance(seed=self.seed, **facts)
        trained = TrainedEncoder(
            encoder.cpu().eval(), self.encoder, front_end, *corpus.statistics,
            record, views.clip_normalisation,
        )  # fmt: skip
        save_encoder(folder, trained, self.trained_on_)


def training_parameters(**changed: Any) -> dict[str, Setting]:
    """Return the settings of the loop as an estimator's parameters, with some other defaults."""
    known = fields_of(TrainingSettings).items()
    return {NAMES[name]: Setting(kind, changed.get(name, usual)) for name, (kind, usual) in known}


def fields_of(settings: Any) -> dict[str, Setting]:
    """Return the fields of a dataclass as an estimator's parameters."""
    return {item.name: Setting(item.type, item.default) for item in fields(settings)}


def flat(training: TrainingSettings) -> dict[str, Any]:
    """Return settings of the training loop under the names that estimators have for them."""
    return {parameter: getattr(training, name) for name, parameter in NAMES.items()}


def show_further(construct: Callable[..., None], further: Mapping[str, Setting]) -> None:
    """Show what a constructor takes as ``**further`` by name in its signature."""
    signature = inspect.signature(construct)
    shown = [each for each in signature.parameters.values() if each.kind is not each.VAR_KEYWORD]
    shown += [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        for name, (kind, default) in further.items()
    ]
    construct.__signature__ = signature.replace(parameters=shown)  # type: ignore[attr-defined]


def random_encoder(name: str, settings: Mapping[str, Any], seed: int) -> Encoder:
    """Return an encoder with the weights that training with this seed starts from."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "encoder"))
        return create(name, **settings)


def untrained_like(
    trained: TrainedEncoder, name: str, settings: Mapping[str, Any], seed: int
) -> TrainedEncoder:
    """Return a random encoder with the front-end and normalisation of a trained one."""
    facts = provenance(method="random_init", seed=seed, parameters=dict(settings))
    encoder = random_encoder(name, settings, seed).eval()
    return replace(trained, encoder=encoder, name=name, provenance=facts)


def crop_source(
    corpus: Corpus, method: Method, training: TrainingSettings, seed: int,
    device: torch.device | str,
) -> CropSource:  # fmt: skip
    """Return the batches of a corpus for a method."""
    return CropSource(
        corpus.store, corpus.rows, crop_frames=method.crop_frames, n_crops=method.n_crops,
        batch_size=training.batch_size, seed=seed,
        device=pick_device(device),
    )  # fmt: skip


def view_maker(
    corpus: Corpus, views: Mapping[str, Any], crop_frames: int,
    k_mix_centroids: np.ndarray | None = None,
) -> ViewMaker:  # fmt: skip
    """Return the augmentations of a corpus's crops; ``views`` are arguments of ``ViewMaker``."""
    mean, std = corpus.statistics
    centroids = None if k_mix_centroids is None else torch.from_numpy(k_mix_centroids)
    return ViewMaker(
        mean=mean, std=std, n_mels=corpus.store.front_end.n_mels, crop_frames=crop_frames,
        k_mix_centroids=centroids, **views,
    )  # fmt: skip
