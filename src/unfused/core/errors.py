"""Errors that are meant for users, and what a mistyped name was probably meant to be."""

from collections.abc import Iterable
from difflib import get_close_matches
from math import inf
from threading import Event
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

STOPPING = Event()
"""Set once a signal has asked this process to end: from then on nothing is declared whole.

The exception that a signal raises is lost where C calls Python, and what goes on is not to be
trusted.
"""


class UserError(ValueError):
    """Something that the user can mend: the message names the value, the rule and the remedy.

    Commands show its words alone; every other error is a bug and keeps its traceback. ``remedy`` is
    a word for what it advises, where a command is told so in another way than a call.
    """

    def __init__(self, *words: object, remedy: str = "") -> None:
        super().__init__(*words)
        self.remedy = remedy


class NotFoundError(UserError, FileNotFoundError):
    """Something that was asked for is not there."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return words that propose the nearest known name, to end a message with; "" if none is near.

    >>> did_you_mean("decarr", ["byol_a", "decar"])
    "; did you mean 'decar'?"
    """
    near = get_close_matches(str(name), [str(item) for item in known], n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def obeys(number: float, rule: str) -> bool:
    """Return whether a number is ``positive``, ``0 or positive``, ``at least 2`` or ``in [0, 1)``.

    >>> obeys(3, "at least 2"), obeys(1, "in [0, 1)"), obeys(1, "in [0, 1]")
    (True, False, True)
    """
    if rule in ("positive", "0 or positive"):
        return (number > 0 if rule == "positive" else number >= 0) and number < inf
    if rule.startswith("at least "):
        return number >= float(rule.removeprefix("at least "))
    low, high = map(float, rule[len("in [") : -1].split(", "))
    return low <= number <= high and not (rule.endswith(")") and number == high)


def must_be(rule: str, **numbers: float | None) -> None:
    """Refuse, by UserError, numbers that break a rule, see :func:`obeys`; None is no number.

    >>> must_be("positive", temperature=0.1, weight_decay=None)
    """
    for name, number in numbers.items():
        if number is not None and not obeys(number, rule):
            finite = " and finite" if number == inf else ""
            raise UserError(f"{name}={number!r} must be {rule}{finite}")


def must_be_one_of(choices: Iterable[str], **words: str) -> None:
    """Refuse, by UserError, words that are none of the choices.

    >>> must_be_one_of(("sum", "mean"), loss_mix="sum")
    """
    known = list(choices)
    for name, word in words.items():
        if word not in known:
            raise UserError(f"{name}={word!r} is unknown; choose from {known}")


def check_fields(settings: Any) -> None:
    """Refuse, by UserError, values of a dataclass that break what its annotations say.

    ``Annotated[float, "in [0, 1]"]`` has a rule of :func:`must_be`, ``Literal["a", "b"]`` choices.
    """
    for name, kind in get_type_hints(type(settings), include_extras=True).items():
        value = getattr(settings, name)
        for part in (kind, *get_args(kind)):
            if get_origin(part) is Annotated and value is not None:
                must_be(part.__metadata__[0], **{name: value})
        if get_origin(kind) is Literal:
            must_be_one_of(get_args(kind), **{name: value})
