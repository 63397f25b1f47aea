"""Classes by name, found in the modules of a package, so that a new one needs no list to edit."""

import importlib
import inspect
import pkgutil
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar, get_type_hints

from ..core.errors import UserError, did_you_mean
from .encoder import Encoder

T = TypeVar("T")


class Setting(NamedTuple):
    """One keyword-only constructor argument: its annotation, resolved, and its default.

    That is ``...`` if it has to be given, as ``pydantic.create_model`` has it.
    """

    type: Any
    default: Any


@dataclass(frozen=True)
class Registry(Generic[T]):
    """The classes in a package's modules that carry their own ``name``."""

    package: str  # its dotted name
    base: type[T]  # the class they derive from
    what: str  # what one of them is called in error messages

    def classes(self) -> dict[str, type[T]]:
        """Return name -> class, by name; imports the package's modules on first use."""
        package = importlib.import_module(self.package)
        found: dict[str, type[T]] = {}
        for module in pkgutil.iter_modules(package.__path__, self.package + "."):
            for item in vars(importlib.import_module(module.name)).values():
                here = inspect.isclass(item) and item.__module__ == module.name
                if here and issubclass(item, self.base) and isinstance(vars(item).get("name"), str):
                    found[vars(item)["name"]] = item
        return dict(sorted(found.items()))

    def find(self, name: str) -> type[T]:
        """Return the class called ``name``; a UserError names the nearest one if there is none."""
        classes = self.classes()
        check_settings(self.what, {name: None}, classes, "no")
        return classes[name]


def settings_of(constructed: type, without: Collection[str] = ()) -> dict[str, Setting]:
    """Return the keyword-only arguments of a class's constructor, in order, ``without`` some.

    Those of a base class follow where the constructor hands further ones on to it (``**shared``).
    """
    found: dict[str, Setting] = {}
    for kind in constructed.__mro__:
        if "__init__" not in vars(kind):
            continue
        constructor = vars(kind)["__init__"]
        hints, parameters = get_type_hints(constructor), inspect.signature(constructor).parameters
        for name, given in parameters.items():
            if given.kind is given.KEYWORD_ONLY and name not in without and name not in found:
                default = ... if given.default is given.empty else given.default
                found[name] = Setting(hints[name], default)
        if not any(given.kind is given.VAR_KEYWORD for given in parameters.values()):
            break
    return found


def check_settings(
    what: str, settings: Mapping[str, Any], known: Iterable[str], kind: str = "no setting of"
) -> None:
    """Refuse, by UserError, settings that are not known; the message names the nearest one."""
    choices = list(known)
    for name in settings:
        if name not in choices:
            raise UserError(
                f"{name!r} is {kind} {what}: choose from {choices}{did_you_mean(name, choices)}"
            )


ENCODERS: Registry[Encoder] = Registry(__package__, Encoder, "encoder")


def available() -> list[str]:
    """Return the names of all encoders."""
    return list(ENCODERS.classes())


def create(name: str, **settings: Any) -> Encoder:
    """Return a freshly initialised encoder, one of :func:`available`, with its settings.

    Raises:
        UserError: No encoder or no setting has this name, or a setting's value is refused.

    >>> create("audio_ntt", d=64, cut="block3").dim
    512
    """
    encoder = ENCODERS.find(name)
    check_settings(name, settings, settings_of(encoder))
    return encoder(**settings)
