"""Checkpoints that are either the old one or the whole new one."""

import os
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import torch

from ..core.errors import UserError


class CheckpointError(UserError):
    """A checkpoint cannot be used; the message says why and what to do."""


def save_checkpoint(path: Path, mark: str, content: dict[str, Any]) -> None:
    """Write a checkpoint (state dicts, numbers and strings) beside the old one and replace that.

    ``mark`` is a hash of everything that decides the run's result.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    try:
        with temporary.open("wb") as file:
            torch.save({"mark": mark, **content}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:
        temporary.unlink(missing_ok=True)
        raise OSError(
            f"cannot write the checkpoint {path}: {error}. Free some space and start the same run "
            "again: it goes on from the last checkpoint"
        ) from error


def load_checkpoint(path: Path, mark: str, device: torch.device | str) -> dict[str, Any] | None:
    """Return what was saved, or None if there is no file; nothing that stands in it is executed.

    Raises:
        CheckpointError: The file is damaged, or from another run (saved with another mark).
    """
    if not path.exists():
        return None
    remedy = "delete it to train from the start, or train into another folder"
    try:
        with ZipFile(path) as file:
            if changed := file.testzip():  # PyTorch does not look at its checksums
                raise ValueError(f"{changed} is not what was written")
        content: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
        found = content["mark"]
    except OSError:
        raise
    except Exception as error:  # unpickling damaged bytes can raise anything
        raise CheckpointError(f"the checkpoint {path} is damaged ({error!r}); {remedy}") from error
    if found != mark:
        raise CheckpointError(
            f"the checkpoint {path} comes from a run with other data, settings, seed or "
            f"architecture (its mark is {found}, this run's {mark}); {remedy}"
        )
    return content


def drop_checkpoint(folder: Path) -> None:
    """Remove the checkpoint of a training whose result is saved; with its banks it is large."""
    (folder / "checkpoint.pt").unlink(missing_ok=True)
