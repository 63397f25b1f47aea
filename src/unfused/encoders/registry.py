"""Classes by name, found in the modules of a package, so that a new one needs no list to edit."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Generic, NamedTuple, TypeVar, get_type_hints

from ..core.errors import UserError, did_you_mean
from .encoder import Encoder

T = TypeVar("T")


class Setting(NamedTuple):
    """One keyword-only constructor argument.

    Attributes:
        type: Its annotation, resolved.
        default: Its default; ``...`` if it has to be given, as ``pydantic.create_model`` has it.
    """

    type: Any
    default: Any


class Registry(Generic[T]):
    """The classes in a package's modules that carry their own ``name``.

    Args:
        package: Dotted name of the package whose modules define the classes.
        base: The class they derive from.
        what: What one of them is called in error messages.
    """

    def __init__(self, package: str, base: type[T], what: str) -> None:
        self.package = package
        self.base = base
        self.what = what

    def classes(self) -> dict[str, type[T]]:
        """Return name -> class, by name; imports the package's modules on first use."""
        package = importlib.import_module(self.package)
        found: dict[str, type[T]] = {}
        for module in pkgutil.iter_modules(package.__path__, self.package + "."):
            for item in vars(importlib.import_module(module.name)).values():
                if self._defines(item, module.name):
                    found[vars(item)["name"]] = item
        return dict(sorted(found.items()))

    def _defines(self, item: Any, module: str) -> bool:
        return (
            inspect.isclass(item)
            and issubclass(item, self.base)
            and item.__module__ == module
            and isinstance(vars(item).get("name"), str)
        )

    def find(self, name: str) -> type[T]:
        """Return the class called ``name``.

        Raises:
            ValueError: There is none; the message names the choices and the nearest one.
        """
        classes = self.classes()
        if name not in classes:
            raise UserError(_unknown(self.what, name, classes))
        return classes[name]


def settings_of(constructed: type, without: Collection[str] = ()) -> dict[str, Setting]:
    """Return the keyword-only arguments of a class's constructor, in order.

    Args:
        constructed: The class.
        without: Arguments to leave out.
    """
    constructor = inspect.getattr_static(constructed, "__init__")
    hints = get_type_hints(constructor)
    return {
        name: Setting(hints[name], ... if given.default is given.empty else given.default)
        for name, given in inspect.signature(constructor).parameters.items()
        if given.kind is given.KEYWORD_ONLY and name not in without
    }


def check_settings(what: str, settings: Mapping[str, Any], known: Iterable[str]) -> None:
    """Refuse misspelt settings.

    Raises:
        ValueError: A setting is unknown; the message names the choices and the nearest one.
    """
    choices = list(known)
    for name in settings:
        if name not in choices:
            raise UserError(_unknown(f"setting of {what}", name, choices))


def _unknown(what: str, name: str, choices: Iterable[str]) -> str:
    known = list(choices)
    return f"{name!r} is no {what}: choose from {known}{did_you_mean(name, known)}"


ENCODERS: Registry[Encoder] = Registry(__package__, Encoder, "encoder")


def available() -> list[str]:
    """Return the names of all encoders."""
    return list(ENCODERS.classes())


def create(name: str, **settings: Any) -> Encoder:
    """Return a freshly initialised encoder.

    Args:
        name: One of :func:`available`.
        **settings: Keyword arguments of its constructor.

    Raises:
        ValueError: No encoder or no setting has this name, or a setting's value is refused.

    >>> create("audio_ntt", d=64, cut="block3").dim
    512
    """
    encoder = ENCODERS.find(name)
    check_settings(name, settings, settings_of(encoder))
    return encoder(**settings)
