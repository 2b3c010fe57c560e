"""Turns the candidates of all groups of an image into its objects."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fitcli.annotations.affine_map import Floats
from fitcli.annotations.objects.suppression import Places, suppress
from fitcli.files.wording import counted
from fitcli.reports.page import fragment
from fitcli.tasks.detect.borders import exceeded_across
from fitcli.tasks.detect.candidates import CLASS, COLUMN, FIRST_SIDE, IS_PEAK, ROW, SCORE
from fitcli.tasks.detect.cell_layout import CellLayout, Integers


@dataclass(frozen=True, slots=True)
class Detections:
    """Objects that were found in an image, from top to bottom by the cells of their middles.

    Attributes:
        boxes: (left, top, right, bottom) [n 4] float32 in pixels of the image as it is read; a point has no width and
            height.
        scores: Scores in 0 ... 1, [n] float32.
        numbers: Class numbers, [n].
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    numbers: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.scores)

    def _repr_html_(self) -> str:
        """Return the number of objects of each class as a table, for notebooks."""
        rows = []
        for number in np.unique(self.numbers).tolist():
            scores = self.scores[self.numbers == number]
            rows.append((str(number), f"{len(scores):,}", f"{scores.max():.4f}", f"{np.median(scores):.4f}"))
        return fragment(counted(len(self), "object"), ("class", "objects", "greatest score", "median score"), rows)

    def take(self, which: NDArray[np.int64] | NDArray[np.bool_]) -> Detections:
        """Return some of the objects."""
        return Detections(self.boxes[which], self.scores[which], self.numbers[which])


class CandidateCollector:
    """Collects the candidates of groups in a few arrays: 40 bytes each.

    Args:
        layout: Cells of the model.
        one_per_place: Whether objects of different classes leave each other out; otherwise those of a class do.

    Attributes:
        full: Number of groups with as many candidates as are kept.
    """

    def __init__(self, layout: CellLayout, one_per_place: bool = False) -> None:
        self._layout, self._one_per_place = layout, one_per_place
        self._rows: list[NDArray[np.float32]] = []
        self._groups: list[NDArray[np.int32]] = []
        self.full = 0

    def put(self, places: list[tuple[int, int]], tables: NDArray[np.float32]) -> None:
        """Take the candidates [part most columns] of groups."""
        present = tables[..., SCORE] > 0
        self.full += int(present.all(axis=1).sum())
        group, _ = present.nonzero()
        self._rows.append(tables[present])
        self._groups.append(np.array(places, np.int32).reshape(-1, 2)[group])

    def detections(self, size: tuple[int, int]) -> Detections:
        """Return the objects of an image of (height, width) pixels."""
        rows = np.concatenate(self._rows) if self._rows else np.empty((0, FIRST_SIDE), np.float32)
        groups = np.concatenate(self._groups) if self._groups else np.empty((0, 2), np.int32)
        cells = groups.astype(np.int64) * self._layout.side + rows[:, [ROW, COLUMN]].astype(np.int64)
        numbers, scores = rows[:, CLASS].astype(np.int64), rows[:, SCORE]
        peaks = (rows[:, IS_PEAK] > 0) & ~exceeded_across(cells, numbers, scores, self._layout.side)
        # The order in which groups are read decides nothing.
        order = np.flatnonzero(peaks)
        order = order[np.lexsort((numbers[order], cells[order, 1], cells[order, 0]))]
        boxes = _boxes(cells[order], rows[order, FIRST_SIDE:], self._layout.cell, size)
        found = Detections(boxes, scores[order].copy(), numbers[order].astype(np.int32))
        are_points = rows.shape[1] == FIRST_SIDE
        if are_points and not self._one_per_place:
            # Peaks of a class are no neighbours.
            return found
        places = Places.of_points(cells[order]) if are_points else Places.of_boxes(boxes.astype(np.float64))
        kinds = np.zeros_like(found.numbers) if self._one_per_place else found.numbers
        return found.take(suppress(places.boxes, found.scores, kinds, places.share))


def _boxes(cells: Integers, sides: NDArray[np.float32], cell: int, size: tuple[int, int]) -> NDArray[np.float32]:
    """Return boxes, clipped to the image; a point is the middle of its cell, or the last pixel there."""
    middles = (cells + 0.5) * cell
    if not sides.shape[1]:
        points = np.minimum(middles, np.array(size) - 0.5)[:, ::-1]
        return np.concatenate([points, points], axis=1).astype(np.float32)
    top, left, bottom, right = (sides.astype(np.float64) * cell).T
    y, x = middles.T
    boxes: Floats = np.stack([x - left, y - top, x + right, y + bottom], axis=1)
    for number, side in enumerate((size[1], size[0], size[1], size[0])):
        boxes[:, number] = boxes[:, number].clip(0, side)
    return boxes.astype(np.float32)
