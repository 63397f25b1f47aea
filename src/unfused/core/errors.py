"""Errors that are meant for users, and what a mistyped name was probably meant to be."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(ValueError):
    """Something that the user can mend: the message names the value, the rule and the remedy.

    Commands show its words alone; every other error is a bug and keeps its traceback.
    """


class NotFoundError(UserError, FileNotFoundError):
    """Something that was asked for is not there."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return words that propose the nearest known name, to end a message with; "" if none is near.

    >>> did_you_mean("decarr", ["byol_a", "decar"])
    "; did you mean 'decar'?"
    """
    near = get_close_matches(str(name), [str(item) for item in known], n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
