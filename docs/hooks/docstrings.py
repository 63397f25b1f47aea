"""Docstrings for the site: roles, as in ``:func:`open```, become links, doctests become code."""

import re
from typing import Any

import griffe

ROLE = re.compile(r":(?:class|func|meth|mod|attr|data):`(~?)\.*([\w.]+)`")
DOCTEST = re.compile(r"^( *)>>> .*(?:\n *\S.*)*", re.MULTILINE)


class Docstrings(griffe.Extension):
    """Rewrite every docstring before it is parsed."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite that of one object."""
        if obj.docstring:
            text = DOCTEST.sub(r"\1```pycon\n\g<0>\n\1```", obj.docstring.value)
            obj.docstring.value = ROLE.sub(lambda role: _link(obj, *role.groups()), text)


def _link(obj: griffe.Object, short: str, name: str) -> str:
    """Return a link that is plain code where its target is not part of the site."""
    try:
        target = obj.resolve(name)
    except griffe.NameResolutionError:
        target = name
    shown = name.rpartition(".")[2] if short else name
    return f'<autoref identifier="{target}" optional><code>{shown}</code></autoref>'
