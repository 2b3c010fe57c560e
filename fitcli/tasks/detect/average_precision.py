"""Average precision over all found objects, and the score at which F1 is greatest."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fitcli.annotations.affine_map import Floats
from fitcli.tasks.detect.matching import FALSE, LEFT_OUT, TRUE

RECALLS = np.linspace(0.0, 1.0, 101)
"""Recalls at which the precision is read."""


def average_precision(scores: NDArray[np.float32], kinds: NDArray[np.uint8], true: int) -> Floats:
    """Return the average precision of one class by each threshold, [t]; NaN without a true object.

    The precision at a recall is the greatest at this recall or a greater one; their mean is read at 101 recalls.

    Args:
        scores: Scores of the found objects, those of an image after those of another, [n].
        kinds: Kinds of the detections by each threshold, see `Matches`, [n t].
        true: Number of true objects.
    """
    if not true:
        return np.full(kinds.shape[1], np.nan)
    kinds = kinds[np.argsort(-scores, kind="stable")]
    hits, slips = (
        np.cumsum(kinds == TRUE, axis=0, dtype=np.float64),
        np.cumsum(kinds == FALSE, axis=0, dtype=np.float64),
    )
    means = []
    for hit, slip in zip(hits.T, slips.T, strict=True):
        precision = hit / (hit + slip + np.spacing(1))
        precision = np.maximum.accumulate(precision[::-1])[::-1]
        place = np.searchsorted(hit / true, RECALLS, side="left")
        means.append(np.append(precision, 0.0)[place].mean())
    return np.array(means)


class BestThreshold(NamedTuple):
    """A score and the scores of the objects that reach it.

    Attributes:
        threshold: The score.
        f1: F1 over all classes.
    """

    threshold: float
    f1: float


def best_threshold(scores: NDArray[np.float32], kinds: NDArray[np.uint8], true: int, otherwise: float) -> BestThreshold:
    """Return the threshold with the greatest F1: half-way between the last score that it takes and the next one.

    Args:
        scores: Scores of the found objects of all images and classes, [n].
        kinds: Kinds of the detections by one threshold of overlap, [n].
        true: Number of true objects.
        otherwise: Threshold if no true object was found.
    """
    scores, kinds = scores[kinds != LEFT_OUT], kinds[kinds != LEFT_OUT]
    order = np.argsort(-scores, kind="stable")
    sorted_scores, hits = scores[order].astype(np.float64), np.cumsum(kinds[order] == TRUE)
    f1 = 2 * hits / (np.arange(1, len(hits) + 1) + true)
    # A threshold takes all of equal scores.
    f1[:-1][sorted_scores[:-1] == sorted_scores[1:]] = 0
    if not len(f1) or f1.max() == 0:
        return BestThreshold(otherwise, 0.0)
    best = int(f1.argmax())
    below = sorted_scores[best + 1] if best + 1 < len(f1) else 0.0
    return BestThreshold(round(float((sorted_scores[best] + below) / 2), 4), float(f1[best]))
