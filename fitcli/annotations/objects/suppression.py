"""Leaves out objects that overlap a better one: greedy non-maximum suppression, in bounded time.

Objects are taken in the order of their scores. An object stays if no object that stays before it overlaps it by more
than a share. The result is that of comparing all with all.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fitcli.annotations.affine_map import Floats
from fitcli.annotations.objects.box_pairs import BoxBins, Integers

MOST_PAIRS = 1 << 22
"""Pairs among undecided objects that are compared at a time."""

OVERLAP = 0.6
"""Overlap (IoU) with a better object above which an object is left out."""

NEIGHBOURS = 0.25
"""The same for points, whose squares of 3 x 3 cells overlap by 2 / 7 or more in neighbouring cells, else by 1 / 5."""


class Places(NamedTuple):
    """Where objects lie, for `suppress`.

    Attributes:
        boxes: (left, top, right, bottom) [n 4].
        share: Overlap above which two of them are at one place.
    """

    boxes: Floats
    share: float

    @classmethod
    def of_points(cls, cells: Integers) -> Places:
        """Return the places of points by the cells (row, column) [n 2] that hold them: neighbours share a place."""
        middles = cells[:, ::-1] + 0.5
        return cls(np.concatenate([middles - 1.5, middles + 1.5], axis=1), NEIGHBOURS)

    @classmethod
    def of_boxes(cls, boxes: Floats) -> Places:
        """Return the places of boxes."""
        return cls(boxes, OVERLAP)

    def shared(self, numbers: NDArray[Any]) -> int:
        """Return how many objects have a place that one of another class has, by class numbers [n]."""
        alike = np.zeros(len(self.boxes), np.float32)
        per_class, over_all = (suppress(self.boxes, alike, each, self.share) for each in (numbers, 0 * numbers))
        return len(per_class) - len(over_all)


def suppress(boxes: Floats, scores: NDArray[np.float32], numbers: NDArray[Any], share: float) -> NDArray[np.int64]:
    """Return the objects that stay, ascending; of equal scores the first is better.

    Args:
        boxes: (left, top, right, bottom) [n 4].
        scores: Scores, [n].
        numbers: Class numbers, [n]: objects of different numbers do not touch each other.
        share: Overlap (IoU) above which the worse object is left out.
    """
    order = np.argsort(-scores, kind="stable")
    kept = _Kept(boxes[order], numbers[order].astype(np.int64), share)
    kept.add(np.arange(len(order)))
    stays: Integers = np.sort(order[np.flatnonzero(kept.stays)])
    return stays


class _Kept:
    """The objects that stay so far. Objects are numbered from the best to the worst."""

    def __init__(self, boxes: Floats, numbers: Integers, share: float) -> None:
        self._boxes, self._numbers, self._share = boxes, numbers, share
        self.stays = np.zeros(len(boxes), np.bool_)
        self._before: BoxBins | None = None

    def add(self, some: Integers) -> None:
        """Decide about the next objects, ascending."""
        if self._before is not None:
            some = self._not_suppressed(some)
        if not len(some):
            return
        bins = BoxBins.of(self._boxes[some], self._numbers[some], self._share)
        pairs = bins.own_pairs(MOST_PAIRS)
        if pairs is None and len(some) > 1:
            # What stays of the better half leaves few of the worse half in a crowd.
            middle = len(some) // 2
            self.add(some[:middle])
            self.add(some[middle:])
            return
        assert pairs is not None
        one, other = (each[pairs[2] > self._share] for each in pairs[:2])
        self._decide(some, np.minimum(one, other), np.maximum(one, other))

    def _decide(self, some: Integers, better: Integers, worse: Integers) -> None:
        alive = bytearray(b"\1" * len(some))
        order = np.argsort(better, kind="stable")
        # All that can leave out the better one of a pair were looked at before.
        for one, other in zip(better[order].tolist(), worse[order].tolist(), strict=True):
            if alive[one]:
                alive[other] = 0
        self.stays[some[np.frombuffer(alive, np.bool_)]] = True
        kept = np.flatnonzero(self.stays)
        self._before = BoxBins.of(self._boxes[kept], self._numbers[kept], self._share)

    def _not_suppressed(self, some: Integers) -> Integers:
        assert self._before is not None
        stays = np.ones(len(some), np.bool_)
        for _, worse, overlaps in self._before.pairs(BoxBins.of(self._boxes[some], self._numbers[some], self._share)):
            stays[worse[overlaps > self._share]] = False
        return some[stays]
