"""Self-supervised methods as estimators: one class for every method in the registry."""

from __future__ import annotations

import inspect
import re
from collections.abc import Collection, Mapping
from contextlib import nullcontext
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd
import torch
from sklearn.base import BaseEstimator, clone
from sklearn.utils.validation import check_is_fitted

from .. import methods
from ..core.distributed import rank
from ..core.outputs import OutputFolder
from ..core.seeding import derive_seed
from ..core.source import source_digest
from ..encoders.encoder import Encoder
from ..encoders.origin import provenance
from ..encoders.registry import ENCODERS, Setting, check_settings, create, settings_of
from ..encoders.trained import TrainedEncoder, load_encoder, save_encoder
from ..methods.method import Method
from ..tasks.corpus import Corpus
from ..views.k_mix_centroids import fit_centroids
from ..views.make_views import ViewMaker
from .batches import CropSource
from .checkpoint import drop_checkpoint
from .history import load_history, save_history
from .loop import fit
from .precision import pick_device
from .processes import Number, in_processes, number_of_processes
from .settings import TrainingSettings

CLIP_UPDATES = 100_000
"""How long an estimator trains that is told neither ``epochs`` nor ``clip_updates``."""
_FLAT = {item.name: item.name for item in fields(TrainingSettings)}
_FLAT["momentum"] = "optimiser_momentum"  # methods have a momentum of their own


class SelfSupervised(BaseEstimator):
    """Pre-training of an encoder without labels, with scikit-learn's conventions.

    Made for each method by :func:`estimator`; ``unfused.DECAR`` is ``estimator("decar")``.

    Args:
        encoder: Registered name of the encoder that is trained.
        encoder_settings: Its constructor's arguments.
        views: Arguments of :class:`~unfused.views.make_views.ViewMaker`; None: the method's own.
        seed: Seed of everything random.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        processes: How many train together, one per GPU; ``auto``: all GPUs.
        folder: Where checkpoints and the result live, so that an interrupted fit goes on and a
            finished one is not repeated; None: nowhere.
        **others: The method's hyper-parameters and the fields of
            :class:`~unfused.training.settings.TrainingSettings`.

    Attributes:
        method: The method's class.
        encoder_: The trained encoder, on the CPU.
        history_: Metrics, one row per ``log_every`` steps; see :func:`unfused.training.loop.fit`.
        trained_on_: The clips that were trained on, columns corpus, clip_id and digest at least.
        folder_: Where the result lies; None without a ``folder``.

    Raises:
        UserError: A parameter is unknown.
    """

    method: ClassVar[type[Method]]
    parameters: ClassVar[Mapping[str, Setting]]
    encoder_: TrainedEncoder
    history_: pd.DataFrame
    trained_on_: pd.DataFrame
    folder_: Path | None

    def __init__(
        self,
        *,
        encoder: str = "audio_ntt",
        encoder_settings: Mapping[str, Any] | None = None,
        views: Mapping[str, Any] | None = None,
        seed: int = 0,
        device: str = "auto",
        processes: Number = 1,
        folder: str | Path | OutputFolder | None = None,
        **others: Any,
    ) -> None:
        self.encoder, self.encoder_settings, self.views = encoder, encoder_settings, views
        self.seed, self.device, self.processes, self.folder = seed, device, processes, folder
        self._check_names(others)
        for name, setting in self.parameters.items():
            if name not in vars(self):
                setattr(self, name, others.get(name, setting.default))

    def set_params(self, **parameters: Any) -> Self:
        """Change parameters and return the estimator.

        Raises:
            UserError: A parameter is unknown.
        """
        self._check_names(parameters)
        changed: Self = super().set_params(**parameters)
        return changed

    @property
    def training(self) -> TrainingSettings:
        """The settings of the training loop."""
        given = {name: getattr(self, parameter) for name, parameter in _FLAT.items()}
        if given["epochs"] is None and given["clip_updates"] is None:
            given["clip_updates"] = CLIP_UPDATES
        return TrainingSettings(**given)

    @property
    def resolved_views(self) -> dict[str, Any]:
        """The views, the method's own if none are given."""
        return dict(self.method.usual_views if self.views is None else self.views)

    def fit(self, corpus: Corpus, k_mix_centroids: np.ndarray | None = None) -> Self:
        """Train on all clips of a corpus; labels are not looked at.

        Args:
            corpus: What to train on.
            k_mix_centroids: Centroids of the clips' time-means, (K, F), for views that mix by
                k-mix; None: they are fitted here.

        Returns:
            The estimator itself, fitted.

        Raises:
            UserError: A parameter is out of range.
            ProcessFailed: One of several processes was killed.
        """
        create(self.encoder, **(self.encoder_settings or {}))  # refuses what is unknown
        mixes = self.resolved_views.get("mixing") == "k_mix"
        given = k_mix_centroids if mixes else None
        modules = self.method.__module__, ENCODERS.find(self.encoder).__module__
        made_of = {
            "method": self._hyper_parameters(),
            "encoder": {"name": self.encoder, **(self.encoder_settings or {})},
            "views": self.resolved_views,
            "training": self.training,
            "seed": self.seed,
            "corpus": corpus.mark,
            "k_mix_centroids": given,
            "source": source_digest(__name__, *modules),
        }

        def build(path: Path) -> None:
            centroids = given
            if mixes and centroids is None:
                centroids = fit_centroids(corpus.store, corpus.rows, seed=self.seed)[0].numpy()
            arguments = (clone(self), path, corpus, centroids)
            count = number_of_processes(self.processes, self.device)
            if count > 1:
                in_processes(_train, arguments, count=count, device=self.device)
            else:
                _train(*arguments)

        nowhere = TemporaryDirectory() if self.folder is None else nullcontext(self.folder)
        with nowhere as place:
            outputs = place if isinstance(place, OutputFolder) else OutputFolder(Path(place))
            path = outputs.built(f"{self.method.name}-seed{self.seed}", made_of, build)
            self.encoder_, self.history_ = load_encoder(path), load_history(path)
            self.trained_on_, self.folder_ = corpus.clips, None if self.folder is None else path
        return self

    def save(self, folder: str | Path) -> None:
        """Write the trained encoder, what it was trained on, and the learning curve.

        :func:`unfused.load_encoder` reads the encoder.

        Raises:
            NotFittedError: :meth:`fit` was not called.
        """
        check_is_fitted(self, "encoder_")
        save_encoder(folder, self.encoder_, self.trained_on_)
        save_history(Path(folder), self.history_)

    def _hyper_parameters(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in methods.settings_of(self.method)}

    def _check_names(self, names: Collection[str]) -> None:
        check_settings(type(self).__name__, dict.fromkeys(names), self.parameters)


def _train(
    model: SelfSupervised, folder: Path, corpus: Corpus, centroids: np.ndarray | None
) -> None:
    """Train in this process, which may be one of several, and save the encoder."""
    seed, settings, own = model.seed, dict(model.encoder_settings or {}), model._hyper_parameters()
    encoder = random_encoder(model.encoder, settings, seed)
    torch.manual_seed(derive_seed(seed, "method"))
    method = methods.create(model.method.name, encoder, n_clips=len(corpus), **own)
    views = view_maker(corpus, model.resolved_views, method.crop_frames, centroids)
    with crop_source(corpus, method, model.training, seed, model.device) as source:
        history = fit(
            method, source, views, model.training,
            folder=folder, seed=seed, device=model.device, title=f"{corpus.name}, seed {seed}",
        )  # fmt: skip
    if rank() != 0:
        return
    parameters = {"encoder": settings, "method": own, "views": model.resolved_views}
    parameters["training"] = vars(model.training)
    trained = TrainedEncoder(
        method.encoder.cpu().eval(),
        model.encoder,
        corpus.store.front_end.settings(),
        *corpus.statistics,
        provenance(method=method.name, seed=seed, parameters=parameters),
        getattr(method, "projector", None),
        views.clip_normalisation,
    )
    save_encoder(folder, trained, corpus.clips)
    save_history(folder, history)
    drop_checkpoint(folder)


def flat(training: TrainingSettings) -> dict[str, Any]:
    """Return settings of the training loop under the names that estimators have for them."""
    return {_FLAT[name]: value for name, value in vars(training).items()}


def estimator(method: str) -> type[SelfSupervised]:
    """Return the estimator of a registered method.

    Raises:
        UserError: No method has this name.

    >>> estimator("decar")(clip_updates=20_000, temperature=0.2)
    DECAR(clip_updates=20000, temperature=0.2)
    """
    return _estimator(methods.METHODS.find(method))  # type: ignore[arg-type]


def __getattr__(name: str) -> type[SelfSupervised]:
    """Return the estimator of the method whose class has this name."""
    for method in methods.METHODS.classes().values():
        if method.__name__ == name:
            return estimator(method.name)
    raise AttributeError(f"{name!r} is the name of no method's class")


@cache
def _estimator(method: type[Method]) -> type[SelfSupervised]:
    """Make a class whose signature and docstring name all parameters."""
    known = dict(methods.settings_of(method))
    known |= {_FLAT[f.name]: Setting(f.type, f.default) for f in fields(TrainingSettings)}
    known |= settings_of(SelfSupervised)
    known["encoder"] = Setting(str, method.usual_encoder)
    texts = {name: text for base in reversed(method.__mro__) for name, text in _described(base)}
    texts |= {_FLAT[name]: text for name, text in _described(TrainingSettings, "Attributes")}
    texts |= dict(_described(SelfSupervised))

    def construct(self: SelfSupervised, **given: Any) -> None:
        SelfSupervised.__init__(self, **{"encoder": method.usual_encoder, **given})

    kinds = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY
    signature = [inspect.Parameter("self", kinds[0])]
    for name, (kind, default) in known.items():
        signature.append(inspect.Parameter(name, kinds[1], default=default, annotation=kind))
    construct.__signature__ = inspect.Signature(signature)  # type: ignore[attr-defined]
    about = inspect.cleandoc(method.__doc__ or "").partition("\nArgs:\n")[0].strip()
    arguments = "\n".join(f"    {name}: {texts.get(name, '')}" for name in known)
    content = {"__init__": construct, "__module__": __name__, "method": method, "parameters": known}
    doc = f"{about}\n\nSee :class:`SelfSupervised`.\n\nArgs:\n{arguments}\n"
    return type(method.__name__, (SelfSupervised,), {**content, "__doc__": doc})


def _described(described: type, section: str = "Args") -> list[tuple[str, str]]:
    """Return what a class's docstring says of each of its arguments."""
    text = inspect.cleandoc(described.__doc__ or "") + "\n"
    found = re.search(rf"^{section}:\n((?: .*\n|\n)+)", text, flags=re.MULTILINE)
    entry = re.compile(r"^    (\w+): (.*\n(?:     .*\n)*)", flags=re.MULTILINE)
    return [(name, lines.strip()) for name, lines in entry.findall(found[1] if found else "")]


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
    return replace(trained, encoder=encoder, name=name, provenance=facts, projector=None)


def crop_source(
    corpus: Corpus, method: Method, training: TrainingSettings, seed: int, device: str
) -> CropSource:
    """Return the batches of a corpus for a method."""
    return CropSource(
        corpus.store,
        corpus.rows,
        crop_frames=method.crop_frames,
        n_crops=method.n_crops,
        batch_size=training.batch_size,
        padding=training.padding,
        seed=seed,
        device=pick_device(device),
    )


def view_maker(
    corpus: Corpus,
    views: Mapping[str, Any],
    crop_frames: int,
    k_mix_centroids: np.ndarray | None = None,
) -> ViewMaker:
    """Return the augmentations of a corpus's crops; ``views`` are arguments of ``ViewMaker``."""
    mean, std = corpus.statistics
    return ViewMaker(
        mean=mean,
        std=std,
        n_mels=corpus.store.front_end.n_mels,
        crop_frames=crop_frames,
        k_mix_centroids=None if k_mix_centroids is None else torch.from_numpy(k_mix_centroids),
        **views,
    )
