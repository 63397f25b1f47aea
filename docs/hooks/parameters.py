"""The page of all parameters: names, types and values as the code and ``conf/base`` have them."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import MISSING, fields
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

import griffe
import yaml
from pydantic import BaseModel

from unfused import encoders, methods, params
from unfused.encoders.registry import ENCODERS, settings_of
from unfused.training.settings import TrainingSettings

ROLE = re.compile(r":\w+:`~?\.*([\w.]+)`")
PLACE = "<!-- parameters -->"
CONF = Path(__file__).resolve().parents[2] / "conf/base/parameters"
OWN_TABLE = dict.fromkeys((params.Views, params.MethodViews, params.methods.KMixViews), "views")
OWN_TABLE |= {TrainingSettings: "training", params.EncoderParams: "encoder"}
FURTHER = {"views": params.MethodViews, "training": TrainingSettings}
"""Groups that stand in several others."""
SIGNS = {
    "ge": "at least",
    "gt": "above",
    "le": "at most",
    "lt": "below",
    "min_length": "entries >=",
}


class Parameter(NamedTuple):
    """One row of a table; ``kind`` is a group of parameters or the type of a value."""

    name: str
    kind: Any
    default: Any = ...
    rules: tuple[Any, ...] = ()
    meaning: str = ""


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put the tables into the page that asks for them."""
    if PLACE not in markdown:
        return markdown
    base = configured()
    parts = [f"## `{name}`\n\n{table(within(kind), base, name)}" for name, kind in groups()]
    for what, room, known in (
        ("methods.{}.settings", methods, methods.settings_of),
        ("encoder.settings of {}", encoders, lambda name: settings_of(ENCODERS.find(name))),
    ):
        for name in room.available():
            title = what.format(name)
            bases = reversed(constructor(room, name).__mro__)  # which may take some of them
            ours = (base for base in bases if base.__module__.startswith("unfused"))
            says = {key: text for base in ours for key, text in meanings(base).items()}
            items = [
                Parameter(key, *setting, meaning=says.get(key, ""))
                for key, setting in known(name).items()
            ]
            parts.append(f"## `{title}`\n\n{table(items, base, title)}")
    return markdown.replace(PLACE, "\n\n".join(parts))


def groups() -> Iterator[tuple[str, type]]:
    """Yield every table's title and group; what only holds groups has a table for each of them."""
    for name, group in params.GROUPS.items():
        inner = {key: field.annotation for key, field in group.model_fields.items()}
        if all(map(is_group, inner.values())):
            yield from ((f"{name}.{key}", kind) for key, kind in inner.items())
        else:
            yield (f"{name}.<name>" if name in params.ENTRIES else name), group
    yield from FURTHER.items()


def configured() -> dict[str, Any]:
    """Return what ``conf/base`` says, by dotted name."""
    flat: dict[str, Any] = {}

    def add(prefix: str, value: Any) -> None:
        if isinstance(value, dict) and value:
            for name, inner in value.items():
                add(f"{prefix}.{name}" if prefix else str(name), inner)
        else:
            flat[prefix] = value

    for file in sorted(CONF.glob("*.yml")):
        add("", yaml.safe_load(file.read_text(encoding="utf-8")))
    return flat


def constructor(room: Any, name: str) -> type:
    """Return the class of a registered method or encoder."""
    waiting: list[type] = [methods.Method if room is methods else encoders.Encoder]
    while waiting:
        kind = waiting.pop()
        if kind.__dict__.get("name") == name:
            return kind
        waiting += kind.__subclasses__()
    raise LookupError(name)


def within(kind: type, prefix: str = "") -> Iterator[Parameter]:
    """Yield the parameters of a group, those of groups in it too."""
    says = meanings(kind)
    if not issubclass(kind, BaseModel):
        for field in fields(kind):
            default = ... if field.default is MISSING else field.default
            hint = get_type_hints(kind, include_extras=True)[field.name]
            rules = getattr(hint, "__metadata__", ())
            yield Parameter(field.name, hint, default, rules, says[field.name])
        return
    for name, field in kind.model_fields.items():
        inner = next((item for item in flat_types(field.annotation) if is_group(item)), None)
        if inner and inner not in OWN_TABLE:
            yield from within(inner, f"{prefix}{name}.")
        else:
            default = ... if field.is_required() else field.get_default(call_default_factory=True)
            rules, says_it = tuple(field.metadata), says.get(name, "")
            yield Parameter(prefix + name, inner or field.annotation, default, rules, says_it)


def is_group(kind: Any) -> bool:
    """Return whether a type is a group of parameters."""
    return isinstance(kind, type) and (issubclass(kind, BaseModel) or kind is TrainingSettings)


def flat_types(kind: Any) -> Iterator[Any]:
    """Yield the members of a union, without what annotates them."""
    if get_origin(kind) in (Union, UnionType):
        for item in get_args(kind):
            yield from flat_types(item)
    else:
        yield get_args(kind)[0] if get_origin(kind) is Annotated else kind


def table(items: Iterable[Parameter], base: dict[str, Any], group: str) -> str:
    """Return parameters as a table in Markdown."""
    lines = ["| parameter | type | default | meaning |", "|---|---|---|---|"]
    for item in items:
        value = "" if item.default is ... or is_group(item.kind) else f"`{shown(item.default)}`"
        set_to = base.get(f"{group}.{item.name}", ...)
        if (
            set_to is not ...
            and not str(set_to).startswith("${")
            and shown(set_to) != shown(item.default)
        ):
            value = (
                f"{value}, in `base` `{shown(set_to)}`" if value else f"in `base` `{shown(set_to)}`"
            )
        cells = f"`{item.name}`", typed(item), value, item.meaning
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def typed(item: Parameter) -> str:
    """Return a type and its range in words."""
    if item.kind in OWN_TABLE:
        return f"group [`{OWN_TABLE[item.kind]}`](#{OWN_TABLE[item.kind]})"
    words = [worded(kind) for kind in flat_types(item.kind)]
    inner = [kind.__metadata__ for kind in get_args(item.kind) if get_origin(kind) is Annotated]
    rules = [rule for group in (item.rules, *inner) for rule in group]
    limits = [rule for rule in rules if isinstance(rule, str)]  # of the library's settings
    limits += [
        f"{sign} {getattr(rule, name):g}"
        for rule in rules
        for name, sign in SIGNS.items()
        if getattr(rule, name, None) is not None
    ]
    return ", ".join([" or ".join(words), *limits])


def worded(kind: Any) -> str:
    """Return a type without its modules; of a choice, the choices."""
    if get_origin(kind) is Literal:
        return " / ".join(f"`{choice}`" for choice in get_args(kind))
    if kind is NoneType:
        return "null"
    if get_origin(kind) in (Union, UnionType):
        return " or ".join(map(worded, flat_types(kind)))
    inner = [worded(item) for item in get_args(kind) if item is not ...]
    name = getattr(kind, "__name__", str(kind))
    return f"{name} of {', '.join(inner)}" if inner else name


def shown(value: Any) -> str:
    """Return a value as YAML has it."""
    if isinstance(value, BaseModel):
        return "{}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(shown, value)) + "]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)


def _as_in_yaml(text: str) -> str:
    return re.sub(r"\bNone\b", "null", ROLE.sub(r"`\1`", " ".join(text.split())))


def meanings(kind: type) -> dict[str, str]:
    """Return what the docstring of a class, and of those it derives from, says of each name."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if (base.__doc__ or "").strip() and base.__module__.startswith("unfused"):
            text = griffe.Docstring(base.__doc__ or "", parser="google", lineno=1)
            for section in text.parse(warnings=False):
                if section.kind.value in ("attributes", "parameters"):
                    found |= {item.name: _as_in_yaml(item.description) for item in section.value}
    return found
