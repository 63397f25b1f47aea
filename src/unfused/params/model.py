"""What every group of parameters is: typed, frozen, and without unknown names."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from typing import Annotated, Any, get_type_hints

from pydantic import BaseModel, BeforeValidator, ConfigDict, model_validator

from ..core.errors import UserError, did_you_mean
from ..training.settings import TrainingSettings


def unknown_name(shown: str, name: str, choices: Iterable[str], where: str = "") -> str:
    """Return the words that refuse an unknown name and propose the nearest known one."""
    known = list(choices)
    return f"{shown} is no parameter{where}: choose from {known}{did_you_mean(name, known)}"


def names_in(group: type) -> list[str]:
    """Return the names that a group of parameters has."""
    if is_dataclass(group):
        return [field.name for field in fields(group)]
    return list(group.model_fields) if issubclass(group, BaseModel) else []


class Model(BaseModel):
    """A group of parameters; unknown names are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _only_known(cls, given: Any) -> Any:
        for name in given if isinstance(given, dict) else ():
            if name not in cls.model_fields:
                raise UserError(unknown_name(repr(name), str(name), cls.model_fields, " here"))
        return given


def _only_settings(given: Any) -> Any:
    names = names_in(TrainingSettings)
    for name in given if isinstance(given, dict) else ():
        if name not in names:
            raise UserError(unknown_name(repr(name), str(name), names, " here"))
    return given


Training = Annotated[TrainingSettings, BeforeValidator(_only_settings)]
"""The training loop: names, defaults and rules are those of its settings."""


def check_keys(given: Any, group: type, where: str) -> None:
    """Refuse names that a group of parameters, or a group in it, does not have.

    Values are not looked at, so nothing heavy is imported.

    Args:
        given: The group as configured.
        group: What it may say.
        where: Its dotted name.

    Raises:
        ValueError: A name is unknown, or a group is a single value.
    """
    if given is None:
        return
    names = names_in(group)
    if not isinstance(given, dict):
        raise UserError(f"{where}={given!r} is a group of parameters: set one of {names} in it")
    for name, value in given.items():
        if name not in names:
            raise UserError(unknown_name(f"{where}.{name}", str(name), names))
        inner = get_type_hints(group)[name]
        if isinstance(inner, type) and names_in(inner):
            check_keys(value, inner, f"{where}.{name}")
