"""Counts the pixels of label images by their class and the class that a model found."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fitcli.annotations.class_table import IGNORED


def count_confusion(truth: NDArray[np.uint8], predicted: NDArray[np.uint8], classes: int) -> NDArray[np.int64]:
    """Count the labelled pixels of a part of an image.

    Args:
        truth: Classes of the pixels, `IGNORED` without a label.
        predicted: Classes that were found, of the same shape; `IGNORED` where the model did not look.
        classes: Number of classes.

    Returns:
        [k k+1], pixels by true class (row) and found class (column). The last column counts `IGNORED`.

    Raises:
        ValueError: The shapes differ, or a value is neither a class nor `IGNORED`.
    """
    if truth.shape != predicted.shape:
        raise ValueError(f"{truth.shape} pixels of truth cannot be compared with {predicted.shape}")
    pairs = np.bincount((truth.astype(np.uint16) << 8 | predicted).ravel(), minlength=1 << 16).reshape(256, 256)
    found = pairs.nonzero()
    for values in found:
        unknown = values[(values >= classes) & (values != IGNORED)]
        if unknown.size:
            raise ValueError(f"{unknown[0]} is the number of none of {classes} classes")
    counts: NDArray[np.int64] = np.concatenate([pairs[:classes, :classes], pairs[:classes, IGNORED:]], axis=1)
    return counts
