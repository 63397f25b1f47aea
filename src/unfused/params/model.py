"""What every group of parameters is: typed, frozen, and without unknown names."""

import re
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast, get_type_hints

from pydantic import AfterValidator, BaseModel, BeforeValidator, create_model, model_validator

from ..config import project
from ..core.errors import UserError, did_you_mean
from ..training.settings import TrainingSettings

if TYPE_CHECKING:  # it imports pandas
    from ..core.outputs import OutputFolder


def names_in(group: Any) -> list[str]:
    """Return the names that a group of parameters has; none of what is no group."""
    if is_dataclass(group):
        return [field.name for field in fields(group)]
    if isinstance(group, type) and issubclass(group, BaseModel):
        return list(group.model_fields)
    return []


def check_keys(given: Any, group: type, where: str = "") -> None:
    """Refuse names that a group of parameters, or a group in it, does not have.

    Values are not looked at, so nothing heavy is imported. ``where`` is the group's dotted name.

    Raises:
        UserError: A name is unknown, or a group is a single value.
    """
    known = names_in(group)
    if given is not None and not isinstance(given, dict):
        raise UserError(f"{where}={given!r} is a group of parameters: set one of {known} in it")
    for name, value in (given or {}).items():
        place = f"{where}.{name}" if where else str(name)
        if name not in known:
            hint = did_you_mean(str(name), known)
            raise UserError(f"{place} is no parameter: choose from {known}{hint}")
        if names_in(inner := _types(group)[name]):
            check_keys(value, inner, place)


_types = cache(get_type_hints)  # it evaluates every annotation of a class, and its parents', anew


class Model(BaseModel):
    """A group of parameters; unknown names are errors."""

    model_config = {"extra": "forbid", "frozen": True, "validate_default": True}


def like(settings: type, *without: str) -> Any:
    """Return a group with names, types, defaults, rules and docstring of the library's settings.

    These are a dataclass, which refuses bad values when it is made; fields ``without`` are no
    parameters, or typed by the group itself.
    """
    hints, known = get_type_hints(settings, include_extras=True), {}
    for item in fields(settings):
        required = item.default is MISSING and item.default_factory is MISSING
        if item.name not in without:
            known[item.name] = (hints[item.name], ... if required else item.default)

    def check(group: Model) -> Model:
        settings(**{name: getattr(group, name) for name in known})
        return group

    whole = {item.name for item in fields(settings) if item.default is MISSING} <= set(known)
    rules = {"rules": model_validator(mode="after")(check)} if whole else {}
    doc, module = settings.__doc__, settings.__module__
    return create_model(settings.__name__, __base__=Model, __module__=module, __doc__=doc,
                        __validators__=cast(Any, rules), **cast(Any, known))  # fmt: skip


Folder = Annotated[Path, AfterValidator(lambda given: project() / given)]
"""A folder; a relative one begins in the project's, wherever the command is given."""


class Outputs(Model):
    """Where results that are expensive to make are kept.

    Attributes:
        folder: Where; all runs share it.
        fresh: Make everything again, reuse nothing.
    """

    folder: Folder
    fresh: bool = False

    def outputs(self, *names: str) -> "OutputFolder":
        """Return a folder of outputs, one below the other for each name."""
        from ..core.outputs import OutputFolder

        parts = [re.sub(r"[^\w.-]+", "_", name).strip("._") or "_" for name in names]
        return OutputFolder(self.folder.joinpath(*parts), fresh=self.fresh)


def _only_settings(given: Any) -> Any:
    if isinstance(given, dict):
        check_keys(given, TrainingSettings)
    return given


Training = Annotated[TrainingSettings, BeforeValidator(_only_settings)]
"""The training loop: names, defaults and rules are those of its settings."""
