"""The project's pipelines. Which tasks and methods they have is configuration."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kedro.pipeline import Pipeline

from .config import ProjectConfigLoader
from .core.errors import UserError, did_you_mean
from .params import ENTRIES, GROUPS, check_keys, unknown_name
from .trained_models import used_model

SINGLE = {  # the others are groups
    "teacher",
    *("data", "unlabelled", "new_audio", "fresh", "device"),  # short for --params
    "run_name",  # read by the configuration loader
}
TOP_LEVEL = {*GROUPS, *SINGLE, "select"}
STAGES, WHOLE = {"data_engineering", "modelling"}, {"__default__", "unfused", "reporting"}
RESERVED = {  # pipelines and their stages, and arguments of nodes that take tasks by name
    *("data_engineering", "pretraining", "modelling", "unfused", "evaluation", "reporting"),
    *(
        "lape",
        "compare_runs",
        "classify",
        "export",
        "quality",
        "teacher",
        "demo_corpus",
        "demo_notes",
        "demo_mixtures",
    ),
    *("workspace", "store", "manifest", "splits", "distillation", "encoder", "run", "students"),
    *("own", "tasks", "new_audio", "classifiers", "exported"),
}
KEYS_FIRST = ("unfused", "model", "classify", "export")  # of the others, when a node takes them


def register_pipelines() -> dict[str, Pipeline]:
    """Return every registered pipeline, by name."""
    from .pipelines import inference, reporting

    parameters = ProjectConfigLoader.current()["parameters"]
    check_names(parameters)
    tasks = chosen_tasks(parameters)
    one = study(parameters, tasks, [chosen_teacher(parameters)])
    compared = benchmark_tasks(parameters, tasks), chosen_methods(parameters)
    used = used_model(parameters, tasks)
    return {
        "data_engineering": one["data"]
        + reporting.create_data_report(tasks, chosen_pools(parameters)),
        **{name: one[name] for name in namespaces(parameters, "methods")},
        "modelling": one["modelling"],
        "reporting": one["whole"],
        "unfused": one["whole"],
        "lape": study(parameters, *compared, benchmark=True)["whole"],
        "compare_runs": reporting.create_comparison(),
        "classify": inference.create_classify(**used),
        "export": inference.create_export(**used),
        "__default__": one["whole"],
    }


def study(
    parameters: dict[str, Any], tasks: list[str], compared: list[str], **options: bool
) -> dict[str, Pipeline]:
    """Return what a study of some tasks and methods is made of.

    Args:
        parameters: The configuration.
        tasks: On which encoders are compared.
        compared: The methods whose encoders are.
        **options: Of the report.

    Returns:
        ``data``; every configured method by its name, with the data; ``modelling`` and ``whole``.
    """
    from .pipelines import data_engineering, evaluation, pretraining, reporting, unfused

    pools, teacher = chosen_pools(parameters), chosen_teacher(parameters)
    asked = (parameters.get("evaluation") or {}).get("label_efficiency") or {}
    few_labels = bool(asked.get("budgets"))
    data = data_engineering.create_pipeline(tasks, pools, rendered(parameters, tasks))
    methods = {
        name: data + pretraining.create_pipeline(name, [*tasks, *pools])
        for name in namespaces(parameters, "methods")
    }
    modelling = sum((methods[name] for name in compared), methods[teacher])
    for task in tasks:
        modelling += unfused.create_pipeline(task, teacher)
        modelling += evaluation.create_pipeline(task, compared, few_labels=few_labels)
    modelling += evaluation.create_record(tasks)
    report = reporting.create_pipeline(
        tasks, pools, teacher, compared, few_labels=few_labels, **options
    )
    return {"data": data, **methods, "modelling": modelling, "whole": modelling + report}


def announcement(parameters: dict[str, Any], asked: Sequence[str]) -> str:
    """Return in a line what a run is going to do, and how long it may take where that is known.

    Args:
        parameters: The configuration.
        asked: Names of pipelines; "" is returned where one is unknown, which Kedro refuses.
    """
    check_names(parameters)
    if not set(asked) <= {*STAGES, *WHOLE, "lape", *namespaces(parameters, "methods")}:
        return ""
    tasks, teacher = chosen_tasks(parameters), chosen_teacher(parameters)
    run, whole = parameters.get("run") or {}, WHOLE & set(asked)
    expected = run.get("expected") if whole or "lape" in asked else None
    if whole and not expected and rendered(parameters, tasks):
        expected = (parameters.get("demo") or {}).get("expected")
    names = ["unfused" if name == "__default__" else name for name in asked]
    line = f"{', '.join(names)} on {', '.join(tasks)}, teacher {teacher}, seeds {run.get('seeds')}"
    return line + (f"; expected time: {expected}" if expected else "")


def check_names(parameters: dict[str, Any]) -> None:
    """Refuse parameters that nothing reads, and names that would stand for two things."""
    for name in sorted(set(parameters) & TOP_LEVEL - SINGLE):
        if not isinstance(parameters[name] or {}, dict):
            raise UserError(
                f"{name}={parameters[name]!r} is a group of parameters: set one in it, as "
                f"{name}.<parameter>=<value>"
            )
    known = {"": TOP_LEVEL, "select.": {"tasks", "methods"}}
    given = {"": parameters, "select.": parameters.get("select") or {}}
    for prefix, names in given.items():
        for name in sorted(set(names) - known[prefix]):
            if not name.startswith("_"):
                raise UserError(unknown_name(f"{prefix}{name}", name, sorted(known[prefix])))
    for group in KEYS_FIRST:
        check_keys(parameters.get(group), GROUPS[group], group)
    kinds: dict[str, str] = {}
    for kind in ENTRIES:
        for name in namespaces(parameters, kind):
            if name in RESERVED or name in kinds:
                taken = f"taken by {kinds[name]}.{name}" if name in kinds else "reserved"
                raise UserError(f"{kind}.{name}: the name {name!r} is {taken}; choose another")
            kinds[name] = kind
            check_keys(parameters[kind][name], GROUPS[kind], f"{kind}.{name}")


def chosen_tasks(parameters: dict[str, Any]) -> list[str]:
    """Return the run's tasks: one's own data if given, else those under ``select.tasks``."""
    entries = namespaces(parameters, "tasks")
    if (parameters["tasks"].get("own_data") or {}).get("audio"):
        return ["own_data"]
    names = (parameters.get("select") or {}).get("tasks")
    if isinstance(names, str):  # all that --params can say
        names = [names]
    names = names or [name for name in entries if _is_there(parameters["tasks"][name])]
    if unknown := sorted(set(names) - set(entries)):
        raise UserError(
            f"select.tasks names {unknown}; the configuration has {entries}"
            f"{did_you_mean(unknown[0], entries)}"
        )
    if silent := [name for name in names if not parameters["tasks"][name].get("audio")]:
        raise UserError(f"tasks {silent} name no audio; set tasks.{silent[0]}.audio")
    return list(names)


def benchmark_tasks(parameters: dict[str, Any], tasks: list[str]) -> list[str]:
    """Return the run's tasks and every public one whose data is there (not beside own data)."""
    if tasks == ["own_data"]:
        return tasks
    there = [
        name
        for name in namespaces(parameters, "tasks")
        if parameters["tasks"][name].get("card") and _is_there(parameters["tasks"][name])
    ]
    return [*tasks, *(name for name in there if name not in tasks)]


def _is_there(entry: dict[str, Any]) -> bool:
    """Return whether a task has audio; that of a public data set may not be there."""
    audio = entry.get("audio")
    return bool(audio) and (not entry.get("card") or Path(str(audio)).expanduser().is_dir())


def rendered(parameters: dict[str, Any], tasks: list[str]) -> dict[str, str]:
    """Return the tasks whose audio is rendered -> the dataset with it."""
    from .pipelines.data_engineering.pipeline import RENDERED

    audio = {task: parameters["tasks"][task].get("audio") for task in tasks}
    return {task: RENDERED[name] for task, name in audio.items() if str(name) in RENDERED}


def chosen_pools(parameters: dict[str, Any]) -> list[str]:
    """Return the unlabelled corpora that name any audio."""
    entries = namespaces(parameters, "pools")
    return [name for name in entries if parameters["pools"][name].get("audio")]


def chosen_teacher(parameters: dict[str, Any]) -> str:
    """Return the method whose encoders make the pseudo-labels."""
    teacher, known = str(parameters["teacher"]), namespaces(parameters, "methods")
    if teacher not in known:
        hint = did_you_mean(teacher, known)
        raise UserError(f"teacher={teacher!r} is no configured method; choose from {known}{hint}")
    return teacher


def chosen_methods(parameters: dict[str, Any]) -> list[str]:
    """Return the methods that the benchmark compares: ``select.methods``, or all; the teacher."""
    known, teacher = namespaces(parameters, "methods"), chosen_teacher(parameters)
    names = (parameters.get("select") or {}).get("methods") or known
    names = [names] if isinstance(names, str) else list(names)
    if unknown := sorted(set(names) - set(known)):
        raise UserError(
            f"select.methods names {unknown}; the configuration has {known}"
            f"{did_you_mean(unknown[0], known)}"
        )
    return names if teacher in names else [teacher, *names]


def namespaces(parameters: dict[str, Any], kind: str) -> list[str]:
    """Return the names under ``parameters[kind]``, which become namespaces."""
    names = [name for name, entry in (parameters.get(kind) or {}).items() if entry is not None]
    if bad := [name for name in names if not re.fullmatch(r"[a-z][a-z0-9_]*", name)]:
        raise UserError(f"{kind}: {bad} cannot be namespaces; use a-z, 0-9 and _, a letter first")
    return names
