"""Self-supervised methods as estimators: one class for every method in the registry."""

import inspect
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from sklearn.base import clone

from .. import methods
from ..core.distributed import rank
from ..core.outputs import OutputFolder
from ..core.seeding import derive_seed
from ..core.source import source_digest
from ..encoders.registry import ENCODERS, Setting, create, settings_of
from ..encoders.trained import TrainedEncoder, load_encoder
from ..methods.method import Method
from ..tasks.corpus import Corpus
from ..views.k_mix_centroids import fit_centroids
from .checkpoint import drop_checkpoint
from .estimator import (
    NAMES,
    LoopEstimator,
    random_encoder,
    show_further,
    training_parameters,
    view_maker,
)
from .history import load_history
from .processes import Number, in_processes, number_of_processes
from .settings import TrainingSettings


class SelfSupervised(LoopEstimator):
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
        **further: The method's hyper-parameters and the fields of
            :class:`~unfused.training.settings.TrainingSettings`, by default 100,000 clip-updates.

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
    clip_updates_usual = 100_000
    kept = "encoder_"
    encoder_: TrainedEncoder
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
        **further: Any,
    ) -> None:
        self.encoder, self.encoder_settings, self.views = encoder, encoder_settings, views
        self.seed, self.device, self.processes, self.folder = seed, device, processes, folder
        self._take(further)

    def fit(self, corpus: Corpus, k_mix_centroids: np.ndarray | None = None) -> Self:
        """Train on all clips of a corpus, without looking at labels, and return the estimator.

        Views that mix by k-mix take given centroids of the clips' time-means, (K, F), or fit them.

        Raises:
            UserError: A parameter is out of range.
            ProcessFailed: One of several processes was killed.
        """
        create(self.encoder, **(self.encoder_settings or {}))  # refuses what is unknown
        settings = self._settings()
        mixes = settings["views"].get("mixing") == "k_mix"
        given = k_mix_centroids if mixes else None
        modules = self.method.__module__, ENCODERS.find(self.encoder).__module__
        source = source_digest(__name__, *modules)
        made_of = {**settings, "corpus": corpus.mark, "k_mix_centroids": given, "source": source}

        def build(path: Path) -> None:
            centroids = given
            if mixes and centroids is None:
                centroids = fit_centroids(corpus.store, corpus.rows, seed=self.seed)[0].numpy()
            arguments = (clone(self), path, corpus, centroids)
            count = number_of_processes(self.processes, self.device)
            if count > 1:
                in_processes(_pretrain, arguments, count=count, device=self.device)
            else:
                _pretrain(*arguments)

        with self._outputs() as outputs:
            path = outputs.built(f"{self.method.name}-seed{self.seed}", made_of, build)
            self.encoder_, self.history_ = load_encoder(path), load_history(path)
        self.trained_on_, self.folder_ = corpus.clips, None if self.folder is None else path
        return self

    def _settings(self) -> dict[str, Any]:
        """Return what decides the encoder, apart from the audio."""
        return {
            "method": {name: getattr(self, name) for name in methods.settings_of(self.method)},
            "encoder": {"name": self.encoder, **(self.encoder_settings or {})},
            "views": dict(self.method.usual_views if self.views is None else self.views),
            "training": self.training,
            "seed": self.seed,
        }


def _pretrain(
    model: SelfSupervised, folder: Path, corpus: Corpus, centroids: np.ndarray | None
) -> None:
    """Train in this process, which may be one of several, and save the encoder."""
    settings, seed, model.trained_on_ = model._settings(), model.seed, corpus.clips
    encoder = random_encoder(model.encoder, model.encoder_settings or {}, seed)
    torch.manual_seed(derive_seed(seed, "method"))
    method = methods.create(model.method.name, encoder, n_clips=len(corpus), **settings["method"])
    views = view_maker(corpus, settings["views"], method.crop_frames, centroids)
    model._train(folder, corpus, method, views, f"{corpus.name}, seed {seed}")
    if rank() == 0:
        parameters = {**settings, "training": vars(model.training)}
        facts = {"method": method.name, "parameters": parameters}
        model._keep(folder, method.encoder, corpus, views, **facts)
        drop_checkpoint(folder)


def estimator(method: str) -> type[SelfSupervised]:
    """Return the estimator of a registered method; a UserError names the nearest if there is none.

    >>> estimator("decar")(clip_updates=20_000, temperature=0.2)
    DECAR(clip_updates=20000, temperature=0.2)
    """
    return _estimator(methods.METHODS.find(method))  # type: ignore[arg-type]


def __getattr__(name: str) -> type[SelfSupervised]:
    """Return the estimator of the method whose class has this name; pickle asks for it, too."""
    for method in methods.METHODS.classes().values():
        if method.__name__ == name:
            return estimator(method.name)
    raise AttributeError(f"{name!r} is the name of no method's class")


@cache
def _estimator(method: type[Method]) -> type[SelfSupervised]:
    """Make a class whose signature and docstring name all parameters."""
    further = {**methods.settings_of(method), **training_parameters()}
    own = {**settings_of(SelfSupervised), "encoder": Setting(str, method.usual_encoder)}
    texts = {name: text for base in reversed(method.__mro__) for name, text in _described(base)}
    texts |= {NAMES[name]: text for name, text in _described(TrainingSettings, "Attributes")}
    texts |= dict(_described(SelfSupervised))

    def construct(self: SelfSupervised, **given: Any) -> None:
        SelfSupervised.__init__(self, **{"encoder": method.usual_encoder, **given})

    show_further(construct, {**further, **own})
    about = inspect.cleandoc(method.__doc__ or "").partition("\nArgs:\n")[0].strip()
    arguments = "\n".join(f"    {name}: {texts.get(name, '')}" for name in (*further, *own))
    content = {"__init__": construct, "__module__": __name__, "method": method, "further": further}
    doc = f"{about}\n\nSee :class:`SelfSupervised`.\n\nArgs:\n{arguments}\n"
    return type(method.__name__, (SelfSupervised,), {**content, "__doc__": doc})


def _described(described: type, section: str = "Args") -> list[tuple[str, str]]:
    """Return what a class's docstring says of each of its arguments."""
    text = inspect.cleandoc(described.__doc__ or "") + "\n"
    found = re.search(rf"^{section}:\n((?: .*\n|\n)+)", text, flags=re.MULTILINE)
    entry = re.compile(r"^    (\w+): (.*\n(?:     .*\n)*)", flags=re.MULTILINE)
    return [(name, lines.strip()) for name, lines in entry.findall(found[1] if found else "")]
