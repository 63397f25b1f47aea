"""Self-supervised methods by name. A new one is one file here with a class that has a ``name``."""

from typing import Any

from ..encoders import registry
from ..encoders.encoder import Encoder
from ..encoders.registry import Registry, Setting
from .method import Embed, Method

__all__ = ["METHODS", "Embed", "Method", "available", "check_settings", "create", "settings_of"]

METHODS: Registry[Method] = Registry(__name__, Method, "self-supervised method")


def available() -> list[str]:
    """Return the names of all self-supervised methods."""
    return list(METHODS.classes())


def settings_of(method: str | type[Method]) -> dict[str, Setting]:
    """Return the hyper-parameters of a method or its class: name -> type and default.

    >>> settings_of("decar")["temperature"]
    Setting(type=<class 'float'>, default=0.1)
    """
    found = METHODS.find(method) if isinstance(method, str) else method
    return registry.settings_of(found, without=found.runtime_arguments)


def check_settings(name: str, settings: dict[str, Any]) -> None:
    """Refuse, by UserError, a method or hyper-parameters that do not exist."""
    registry.check_settings(name, settings, settings_of(name))


def create(name: str, encoder: Encoder, **settings: Any) -> Method:
    """Return a method, one of :func:`available`, that trains an encoder.

    Settings are its hyper-parameters, and what the data provides (``n_clips`` ...). Of the latter,
    what the method does not take is left out.

    Raises:
        UserError: No method or no setting has this name, or a setting's value is refused.
    """
    method: Any = METHODS.find(name)
    taken = registry.settings_of(method)
    unwanted = Method.runtime_arguments - taken.keys()
    given = {key: value for key, value in settings.items() if key not in unwanted}
    registry.check_settings(name, given, taken)
    return method(encoder, **given)
