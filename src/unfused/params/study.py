"""What a study is made of, read from the parameters before anything heavy is imported."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from pydantic import TypeAdapter, ValidationError

from ..core.errors import UserError, did_you_mean
from ..reporting.names import PLAIN, STUDENTS, baseline_of
from .audio import DEMOS, Audio, Demo, Extraction, FrontEndParams, Task
from .evaluation import Evaluation
from .methods import LEARNS_VECTORS, KMixParams, Lesson, MethodParams, Unfused
from .model import Model, check_keys
from .run import Classify, EncoderParams, Export, LabelNext, Pretraining, Report, Run, TrainedModel


class Select(Model):
    """Which of the configured tasks, pools and methods take part.

    Attributes:
        tasks: Names of tasks; one's own data takes their place; null: all that are there.
        pools: Names of corpora without labels, of which those are taken that name audio.
        methods: Which methods the benchmark compares; null: all that learn from audio alone.
    """

    tasks: list[str] | str | None = None
    pools: list[str] | str | None = None
    methods: list[str] | str | None = None


GROUPS: dict[str, type[Model]] = {
    "run": Run,
    "select": Select,
    "pretraining": Pretraining,
    "front_end": FrontEndParams,
    "extraction": Extraction,
    "demo": Demo,
    "encoder": EncoderParams,
    "tasks": Task,
    "pools": Audio,
    "methods": MethodParams,
    "k_mix": KMixParams,
    "unfused": Unfused,
    "evaluation": Evaluation,
    "report": Report,
    "model": TrainedModel,
    "classify": Classify,
    "label_next": LabelNext,
    "export": Export,
}
ENTRIES = ("tasks", "pools", "methods")  # of these there are several, each under a name of its own
SHORT = (
    *("data", "unlabelled", "new_audio", "like", "labels"),
    *("fresh", "device", "run_name", "model_folder"),
)
"""Short names of parameters, for the command line alone."""
SINGLE = ("teacher", "teachers", *SHORT)  # outside of groups
ENCODERS = ("random_init", *PLAIN, *STUDENTS)
"""What is compared besides methods and encoders from outside."""
ENCODERS_NAMED = (
    ("label_efficiency", "encoders"),
    ("label_efficiency", "fine_tuning"),
    ("supervised", "encoders"),
)
"""Groups of ``evaluation``, and what in them names encoders."""
SYNTHETIC = "synthetic"
RENDERED = {**DEMOS, SYNTHETIC: "synthetic_sounds"}
"""What ``audio`` may say instead of a place -> the dataset that is rendered for it."""
RESERVED = {  # pipelines, stages, datasets, and arguments of nodes that take methods by name
    *("data_engineering", "pretraining", "modelling", "unfused", "evaluation", "reporting"),
    *("lape", "compare_runs", "model", "classify", "label_next", "export", "new_audio"),
    *RENDERED.values(),
    *("corpus", "students", "distillation", "encoder", "run", "teacher"),
}


@dataclass(frozen=True)
class Study:
    """Names of what a run is about: they become namespaces of the pipelines."""

    tasks: tuple[str, ...]  # on which encoders are compared
    pools: tuple[str, ...]  # corpora that are there for pre-training only
    methods: tuple[str, ...]  # every configured self-supervised method
    compared: tuple[str, ...]  # those whose encoders are compared
    teacher: str  # whose encoders make the pseudo-labels: a method, or a teacher from outside
    rendered: Mapping[str, str]  # tasks and pools whose audio is rendered -> the dataset with it
    model_task: str  # the one whose model is kept for new audio
    few_labels: bool  # whether label efficiency is measured
    evaluated: tuple[str, ...]  # encoders from outside that are compared whoever teaches
    lessons: Mapping[str, str]  # methods that learn the vectors of an encoder from outside -> which
    benchmark: bool = False  # whether methods are compared with each other, over all tasks

    @property
    def teacher_dataset(self) -> str:
        """Where the catalog has the teacher: its encoders, or an outside one's settings."""
        ours = self.teacher in self.methods
        return f"{self.teacher}.encoders" if ours else f"params:teachers.{self.teacher}"

    @property
    def outside(self) -> tuple[str, ...]:
        """Encoders from outside that are compared: all that teach, too."""
        teach = [self.lessons[name] for name in self.compared if name in self.lessons]
        own = [] if self.teacher in self.methods else [self.teacher]
        return tuple(dict.fromkeys([*self.evaluated, *teach, *own]))

    @property
    def shown_training(self) -> str:
        """Whose views are shown: the teacher's; the student's where it is from outside."""
        of = f"methods.{self.teacher}" if self.teacher in self.methods else "unfused.distillation"
        return f"params:{of}"

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> Self:
        """Return the study that the parameters describe.

        Raises:
            UserError: A name is unknown, or stands for two things.
        """
        check_names(parameters)
        tasks, methods = _chosen_tasks(parameters), tuple(_entries(parameters, "methods"))
        known, pools = list(_entries(parameters, "teachers")), _entries(parameters, "pools")
        names = ("evaluation", "model", "select")
        evaluation, model, select = (parameters.get(name) or {} for name in names)
        teacher = _known([parameters["teacher"]], [*methods, *known], "teacher")[0]
        _check_encoders(parameters, [*ENCODERS, *methods, *known])
        if teacher not in methods:
            _check_controls(parameters, teacher)
        labels = evaluation.get("label_efficiency") or {}
        chosen = _known(_listed(select.get("pools")) or list(pools), list(pools), "select.pools")
        there = tuple(name for name in chosen if pools[name].get("audio"))
        return cls(
            tasks=tasks,
            pools=there,
            methods=methods,
            compared=(teacher,) if teacher in methods else (),
            teacher=teacher,
            rendered=_rendered(parameters, [*tasks, *there]),
            model_task=_known([model.get("task") or tasks[0]], tasks, "model.task")[0],
            few_labels=bool(labels.get("budgets")),
            evaluated=_known(_listed(evaluation.get("teachers")), known, "evaluation.teachers"),
            lessons=_lessons(parameters, known),
        )

    def as_benchmark(self, parameters: Mapping[str, Any]) -> "Study":
        """Return the study of all methods, on the public tasks that are there as well."""
        entries, tasks = _entries(parameters, "tasks"), self.tasks
        if tasks != ("own_data",):
            public = [name for name, entry in entries.items() if entry.get("card")]
            there = [name for name in public if _is_there(entries[name])]
            tasks = tuple(dict.fromkeys([*tasks, *there]))
        alone = [name for name in self.methods if name not in self.lessons]
        asked = (parameters.get("select") or {}).get("methods") or alone
        methods = [*self.compared, *_known(_listed(asked), self.methods, "select.methods")]
        rendered = _rendered(parameters, [*tasks, *self.pools])
        compared = tuple(dict.fromkeys(methods))
        return replace(self, tasks=tasks, compared=compared, rendered=rendered, benchmark=True)


def check_names(parameters: Mapping[str, Any]) -> None:
    """Refuse parameters that nothing reads, and names that would stand for two things."""
    known, taken = [*GROUPS, *SINGLE], dict.fromkeys(RESERVED, "reserved")
    for name, given in parameters.items():
        if name in (*ENTRIES, "teachers"):
            for entry, inner in _entries(parameters, name).items():
                if entry in taken:
                    raise UserError(f"{name}.{entry}: the name is {taken[entry]}; choose another")
                if name in ("methods", "teachers") and (entry in STUDENTS or baseline_of(entry)):
                    raise UserError(
                        f"{name}.{entry}: results would take it for a baseline or the student; "
                        "choose another name"
                    )
                taken[entry] = f"taken by {name}.{entry}"
                if name in GROUPS:
                    check_keys(inner, GROUPS[name], f"{name}.{entry}")
                elif not isinstance(inner, dict):  # what is in it depends on its kind
                    raise UserError(f"{name}.{entry}={inner!r} is a group: set kind in it")
        elif name in GROUPS:
            check_keys(given, GROUPS[name], name)
        elif name not in known and not name.startswith("_"):
            hint = did_you_mean(name, known)
            raise UserError(f"{name} is no parameter: choose from {known}{hint}")


def check_values(parameters: Mapping[str, Any]) -> None:
    """Refuse a value that a later stage would refuse, even if this run ends before it.

    Raises:
        UserError: A value breaks a rule; all such values are named.
    """
    given = {name: parameters[name] for name in GROUPS if name in parameters}
    for kind in ENTRIES:
        given.pop(kind, None)
        given |= {f"{kind}.{name}": entry for name, entry in _entries(parameters, kind).items()}
    wrong, checked = list[str](), dict[str, Any]()
    for where, values in given.items():
        try:
            checked[where] = GROUPS[where.split(".")[0]].model_validate(values)
        except ValidationError as error:
            wrong += _said(error, where)
    if wrong:
        raise UserError("; ".join(wrong))
    titles: dict[str, str] = {}
    for name in _chosen_tasks(parameters):
        title = checked[f"tasks.{name}"].name
        if (other := titles.setdefault(title, name)) != name:
            raise UserError(
                f"tasks.{other} and tasks.{name} are both called {title!r} in results: set "
                f"tasks.{name}.title"
            )


def _said(error: ValidationError, where: str) -> Iterator[str]:
    """Yield place, value and rule of each value that breaks one."""
    for found in error.errors():
        place = ".".join(map(str, (where, *found["loc"])))
        own = found.get("ctx", {}).get("error")  # names the value itself
        yield place + (f": {own}" if own else f"={found['input']!r}: {found['msg']}")


def check_together(
    methods: Mapping[str, MethodParams],
    encoder: EncoderParams,
    front_end: FrontEndParams,
    unfused: Unfused,
    evaluation: Evaluation,
) -> None:
    """Refuse settings that only together make no sense, before hours of training show it.

    The student has the run's encoder; methods, by name, may bring their own.

    Raises:
        UserError: A cut is no tap of any encoder, or an encoder expects other log-mels.
    """
    from ..encoders import create

    own = {f"methods.{name}.": method.encoder for name, method in methods.items()}
    encoders = {where: item for where, item in {"": encoder, **own}.items() if item is not None}
    modules = {where: create(item.name, **item.settings) for where, item in encoders.items()}
    taps = list(modules[""].dims)
    every = list(dict.fromkeys(tap for module in modules.values() for tap in module.dims))
    for name, method in methods.items():
        if method.name == LEARNS_VECTORS:
            _learns(method, modules.get(f"methods.{name}.", modules[""]), f"methods.{name}")
    cut, blocks = unfused.distillation.cut, unfused.distillation.blocks or []
    _known([cut], taps, "unfused.distillation.cut")
    _known(blocks, taps[:-1], "unfused.distillation.blocks")  # the last one teaches
    for where, asked in (
        ("evaluation.read_outs", evaluation.read_outs),
        ("unfused.pseudo_labels.read_out", [unfused.pseudo_labels.read_out or {}]),
    ):
        for given in asked:
            _known(_read_out(given, where).taps, every, f"{where}.taps")
    for where, module in modules.items():
        n_mels = getattr(module, "settings", {}).get("n_mels", front_end.n_mels)
        if n_mels != front_end.n_mels:
            raise UserError(
                f"front_end.n_mels={front_end.n_mels}, but the encoder takes {n_mels}: set "
                f"{where}encoder.settings.n_mels={front_end.n_mels} too"
            )


def _entries(parameters: Mapping[str, Any], kind: str) -> dict[str, dict[str, Any]]:
    """Return the entries of a group by name; those set to null are none."""
    given = parameters.get(kind) or {}
    if not isinstance(given, dict):
        raise UserError(f"{kind}={given!r} is a group of parameters: set {kind}.<name> in it")
    entries = {name: entry for name, entry in given.items() if entry is not None}
    if bad := [name for name in entries if not re.fullmatch(r"[a-z][a-z0-9_]*", name)]:
        raise UserError(f"{kind}: {bad} cannot be namespaces; use a-z, 0-9 and _, a letter first")
    return entries


def _learns(method: MethodParams, encoder: Any, where: str) -> None:
    """Refuse an encoder that cannot be trained to predict vectors."""
    import torch

    from ..distillation.embedding_distillation import EmbeddingDistillation

    blocks = Lesson(**method.settings).blocks
    try:
        EmbeddingDistillation(encoder, targets=torch.eye(2), blocks=blocks)
    except UserError as error:
        raise UserError(f"{where}: {error}") from error


def _read_out(given: Mapping[str, Any], where: str) -> Any:
    """Return a read-out, which refuses values that have no meaning."""
    from ..embeddings.read_out import ReadOut

    check_keys(given, ReadOut, where)
    try:
        return TypeAdapter(ReadOut).validate_json(json.dumps(given), strict=True)
    except ValidationError as error:
        raise UserError("; ".join(_said(error, where))) from error


def _check_encoders(parameters: Mapping[str, Any], known: Sequence[str]) -> None:
    """Refuse names of encoders that no row of the results will have."""
    evaluation = parameters.get("evaluation") or {}
    for group, name in ENCODERS_NAMED:
        given = _listed((evaluation.get(group) or {}).get(name))
        alone = [part for label in given for part in label.split(" + ")]
        of_method = [part.removeprefix("random_init_") for part in alone]
        _known(of_method, known, f"evaluation.{group}.{name}")


def _check_controls(parameters: Mapping[str, Any], teacher: str) -> None:
    """Refuse a control that an encoder from outside cannot have."""
    asked = (parameters.get("unfused") or {}).get("pseudo_labels") or {}
    if "random_encoder" in _listed(asked.get("controls")):
        raise UserError(
            "unfused.pseudo_labels.controls: random_encoder is the teacher before its training, "
            f"and teacher={teacher!r} was not trained here: leave it out, or take shuffled"
        )


def _lessons(parameters: Mapping[str, Any], known: Sequence[str]) -> dict[str, str]:
    """Return from which encoder from outside each of the methods learns that learn from one."""
    found = {}
    for name, entry in _entries(parameters, "methods").items():
        if entry.get("name") == LEARNS_VECTORS:
            settings, where = entry.get("settings"), f"methods.{name}.settings"
            if not isinstance(settings, dict) or not settings.get("teacher"):
                raise UserError(f"{where}={settings!r} names no teacher: choose from {list(known)}")
            _known([settings["teacher"]], known, f"{where}.teacher")
            found[name] = settings["teacher"]
    return found


def _listed(given: Any) -> list[str]:
    """Return names as a list; ``--params`` can only say one of them."""
    return [given] if isinstance(given, str) else list(given or [])


def _known(names: Sequence[Any], known: Sequence[str], where: str) -> tuple[str, ...]:
    """Return names after seeing that all of them are known."""
    for name in names:
        if name not in known:
            raise UserError(
                f"{where}={name!r} is not known here: choose from {list(known)}"
                f"{did_you_mean(str(name), known)}"
            )
    return tuple(names)


def _is_there(entry: Mapping[str, Any]) -> bool:
    """Return whether a task has audio, which need not be there if it is not rendered."""
    places = _listed(entry.get("audio"))
    known = [place in RENDERED or Path(place).expanduser().exists() for place in places]
    return bool(known) and all(known)


def _chosen_tasks(parameters: Mapping[str, Any]) -> tuple[str, ...]:
    """Return one's own data if given, else the tasks under ``select.tasks``, else all there are."""
    entries = _entries(parameters, "tasks")
    if entries.get("own_data", {}).get("audio"):
        return ("own_data",)
    asked = _listed((parameters.get("select") or {}).get("tasks"))
    names = asked or [name for name in entries if _is_there(entries[name])]
    for name in _known(names, list(entries), "select.tasks"):
        if not entries[name].get("audio"):
            raise UserError(f"task {name!r} names no audio; set tasks.{name}.audio")
    if not names:
        raise UserError("no task has audio: name one with select.tasks, or set data=<folder>")
    return tuple(names)


def _rendered(parameters: Mapping[str, Any], corpora: Sequence[str]) -> dict[str, str]:
    tasks = _entries(parameters, "tasks")
    entries = {**tasks, **_entries(parameters, "pools")}
    audio = {name: entries[name].get("audio") for name in corpora}
    for name, places in audio.items():
        if name in tasks and places == SYNTHETIC:
            raise UserError(
                f"tasks.{name}.audio={SYNTHETIC} are random sounds, without labels: give them "
                f"as unlabelled={SYNTHETIC}; a folder of that name is ./{SYNTHETIC}"
            )
        if isinstance(places, list) and (made := set(places) & set(RENDERED)):
            raise UserError(
                f"audio of {name!r} lists {min(made)!r}, which is made on the spot: give that an "
                "entry of its own under pools"
            )
    return {
        name: RENDERED[of] for name, of in audio.items() if isinstance(of, str) and of in RENDERED
    }
