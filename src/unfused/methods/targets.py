"""Labels of training clips as a method keeps them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..core.errors import UserError


def label_targets(labels: Any, n_classes: int) -> Tensor:
    """Return what a classifier is trained on, checked: one class of each clip, or several.

    Args:
        labels: (n_clips,) integers, or (n_clips, n_classes) floats that are 0 or 1.
        n_classes: Number of classes.

    Returns:
        (n_clips,) int64, or (n_clips, n_classes) float32.

    Raises:
        UserError: See :func:`class_labels`; or a multi-hot row is not of 0 and 1.
    """
    tensor = torch.as_tensor(labels)
    if tensor.dim() != 2:
        return class_labels(tensor, n_classes)
    binary = ((tensor == 0) | (tensor == 1)).all()
    if tensor.shape[1] != n_classes or n_classes < 2 or not len(tensor) or not binary:
        raise UserError(
            f"labels of shape {tuple(tensor.shape)} for n_classes={n_classes}: expected one column "
            "for each of at least 2 classes, with 1 where a clip has the class and else 0"
        )
    return tensor.float().clone()


def class_labels(labels: Any, n_classes: int) -> Tensor:
    """Return the class of each training clip as a checked tensor, (n_clips,) int64.

    Args:
        labels: Class of each clip, (n_clips,) integers: tensor, array or list.
        n_classes: Number of classes.

    Raises:
        UserError: There are fewer than 2 classes, or a label is none of them.
    """
    tensor = torch.as_tensor(labels)
    if tensor.dim() != 1 or len(tensor) == 0 or tensor.is_floating_point():
        raise UserError(
            f"labels of shape {tuple(tensor.shape)} and type {tensor.dtype}: expected one integer "
            "for each training clip"
        )
    low, high = int(tensor.min()), int(tensor.max())
    if n_classes < 2 or low < 0 or high >= n_classes:
        raise UserError(
            f"labels run from {low} to {high}, but n_classes={n_classes} must be at least 2 and "
            f"allows 0 to {n_classes - 1}; leave unlabelled clips out and number the classes from 0"
        )
    return tensor.long().clone()
