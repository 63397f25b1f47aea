"""Figures as :class:`matplotlib.figure.Figure` objects; nothing here touches pyplot's state."""

from importlib import import_module
from typing import Any

import pandas as pd

from ...core.outputs import OutputFolder
from ...core.source import source_digest

PICTURE = "figure.png"


def drawn(outputs: OutputFolder, figure: str, *shown: Any, **options: Any) -> bytes:
    """Return a figure as a PNG, which is drawn only if what it shows, or its code, is new.

    It is a function in a module of this package, such as ``"curves.learning_curves"``, of what is
    shown and options; matplotlib is imported only if it is called.
    """
    module, name = figure.split(".")
    told = [dict(given) if isinstance(given, pd.DataFrame) else given for given in shown]
    source = source_digest(f"reporting.figures.{module}", follow=["reporting"])

    def build(folder: Any) -> None:
        draw = getattr(import_module(f"{__package__}.{module}"), name)
        draw(*shown, **options).savefig(folder / PICTURE)

    made_of = {"shown": told, **options, "source": source}
    return (outputs.built(name, made_of, build) / PICTURE).read_bytes()
