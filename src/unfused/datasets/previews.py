"""Previews of data that does not exist yet."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any


def once_made(preview: Callable[..., Any]) -> Callable[..., Any]:
    """Let a dataset's ``preview`` return None until there is data, without a word in the log."""

    @wraps(preview)
    def none_or_preview(self: Any, *args: Any, **kwargs: Any) -> Any:
        return preview(self, *args, **kwargs) if self.exists() else None

    return none_or_preview
