"""Compares the boundaries of classes in two label images, strip by strip.

A pixel lies on the boundary of its class if one of its four neighbours has another class. Pixels without a label in the
truth do not exist here: they lie on no boundary, make none of their neighbours, and count in neither image. A boundary
pixel is a hit if the other image has a boundary pixel of the same class within the tolerance, in rows and in columns.

The strips of an image give the counts of the whole image, whatever their heights: the rows that a later strip can still
change wait for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from fitcli.annotations.class_table import IGNORED

STRIP_PIXELS = 1 << 21
"""Pixels that are computed at once; memory is about 20 times as many bytes."""

BITS = 8
"""Classes that are computed at once: each is a bit of a byte."""

Labels = NDArray[np.uint8]
Strip = tuple[Labels, Labels]
"""Truth and prediction [height width] of rows of an image."""


def count_boundaries(strips: Iterable[Strip], classes: int, tolerance: int) -> NDArray[np.int64]:
    """Count the boundary pixels of an image.

    Args:
        strips: All rows of the image from top to bottom, as pairs of truth and prediction.
        classes: Number of classes.
        tolerance: Greatest distance of a hit, in pixels.

    Returns:
        [k 4]: for each class the boundary pixels of the truth, the hits among them, the boundary pixels of the
        prediction, and the hits among them.
    """
    counts = np.zeros((classes, 4), np.int64)
    for truth, predicted, own in _with_halo(strips, tolerance + 1):
        counts += _count(truth, predicted, own, classes, tolerance)
    return counts


def _with_halo(strips: Iterable[Strip], halo: int) -> Iterator[tuple[Labels, Labels, slice]]:
    """Cut the rows into parts with `halo` more rows above and below, where the image has them.

    Yields:
        Truth and prediction of the rows, and which of them belong to the part itself.
    """
    held: Strip | None = None
    done = 0  # rows of `held` that are above the next part
    for strip in thin(strips):
        held = strip if held is None else (np.concatenate([held[0], strip[0]]), np.concatenate([held[1], strip[1]]))
        complete = len(held[0]) - halo
        if complete > done:
            yield *held, slice(done, complete)
            kept = max(complete - halo, 0)
            held, done = (held[0][kept:], held[1][kept:]), complete - kept
    if held is not None:
        yield *held, slice(done, len(held[0]))


def thin(strips: Iterable[Strip]) -> Iterator[Strip]:
    """Cut strips into strips of at most `STRIP_PIXELS` pixels."""
    for truth, predicted in strips:
        rows = max(STRIP_PIXELS // max(truth.shape[1], 1), 1)
        for top in range(0, len(truth), rows):
            yield truth[top : top + rows], predicted[top : top + rows]


def _count(truth: Labels, predicted: Labels, own: slice, classes: int, tolerance: int) -> NDArray[np.int64]:
    """Count the boundary pixels of the rows `own`; see `count_boundaries`."""
    labelled = truth != IGNORED
    sides = [(image, _edges(image, labelled)) for image in (truth, predicted)]
    counts = np.zeros((classes, 4), np.int64)
    for first in range(0, classes, BITS):
        table = np.zeros(256, np.uint8)
        shown = range(first, min(first + BITS, classes))
        table[shown.start : shown.stop] = 1 << np.arange(len(shown))
        bits = [np.where(edges, table[image], np.uint8(0)) for image, edges in sides]
        if not any(each.any() for each in bits):
            continue
        for column, (mine, others) in enumerate((bits, bits[::-1])):
            hits = mine[own] & _grown(others, tolerance)[own]
            for offset, each in ((0, mine[own]), (1, hits)):
                counts[shown.start : shown.stop, 2 * column + offset] = _bit_counts(each)[: len(shown)]
    return counts


def _edges(image: Labels, labelled: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which labelled pixels have a labelled neighbour of another value, above, below, left or right."""
    edges = np.zeros(image.shape, np.bool_)
    for one, other in (
        ((slice(1, None),), (slice(None, -1),)),
        ((slice(None), slice(1, None)), (slice(None), slice(None, -1))),
    ):
        differ = (image[one] != image[other]) & labelled[one] & labelled[other]
        edges[one] |= differ
        edges[other] |= differ
    return edges


def _grown(bits: Labels, tolerance: int) -> Labels:
    """Return the bits of every pixel and of those up to `tolerance` rows and columns away."""
    for axis in (0, 1):
        grown, lines = bits.copy(), np.moveaxis(bits, axis, 0)
        target = np.moveaxis(grown, axis, 0)
        for distance in range(1, min(tolerance, len(lines) - 1) + 1):
            target[distance:] |= lines[:-distance]
            target[:-distance] |= lines[distance:]
        bits = grown
    return bits


def _bit_counts(values: Labels) -> NDArray[np.int64]:
    """Return how often each of the eight bits is set."""
    occurrences = np.bincount(values.ravel(), minlength=256)
    is_set = np.arange(256)[:, None] >> np.arange(BITS) & 1
    return occurrences @ is_set
