"""Reads the objects of a training item as targets of its cells, at the place of the pixels and turned as they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray
from torch import Tensor

from fitcli.annotations.objects.placed_objects import PlacedObjects, place_objects
from fitcli.data.dataset import Sample
from fitcli.data.place import Place
from fitcli.errors import DataError
from fitcli.files.wording import counted
from fitcli.images.base import ImageReader
from fitcli.images.window import Window
from fitcli.patches.grid import PatchGrid
from fitcli.tasks.detect.cell_layout import CellLayout
from fitcli.tasks.detect.draw_targets import DrawnCells, Turn, draw_cells
from fitcli.tasks.detect.loss import CELLS_PER_OBJECT, CellTruth

REACH_CELLS = 3
"""Greatest distance at which an object has heat beyond its box, in cells."""

NAMED = 3
"""Number of objects that a message names."""


@dataclass(frozen=True, slots=True)
class CellTargets:
    """Targets of the cells of a batch, see `DrawnCells`.

    Attributes:
        counted: Flags of the cells that count, [g c] bool.
        heat_keys, heat, box_keys, sides, weights: As in `DrawnCells`; keys count from the first group of the batch.
        heat_starts, box_starts: First entry of each group, and the number of entries at the end; on the host.
        classes: Number of classes.
        objects: Number of objects whose middle counts.
    """

    counted: Tensor
    heat_keys: Tensor
    heat: Tensor
    box_keys: Tensor
    sides: Tensor
    weights: Tensor
    heat_starts: NDArray[np.int64]
    box_starts: NDArray[np.int64]
    classes: int
    objects: int

    def map_tensors(self, move: Callable[[Tensor], Tensor]) -> CellTargets:
        """Return the same with `move` applied to every tensor."""
        return replace(
            self,
            counted=move(self.counted),
            heat_keys=move(self.heat_keys),
            heat=move(self.heat),
            box_keys=move(self.box_keys),
            sides=move(self.sides),
            weights=move(self.weights),
        )

    def part(self, part: slice, device: torch.device | None = None) -> CellTruth:
        """Return the targets of a slice of the groups, on a device."""
        start, stop, _ = part.indices(len(self.counted))
        heat, boxes = (slice(int(each[start]), int(each[stop])) for each in (self.heat_starts, self.box_starts))
        first = start * self.counted.shape[1]
        truth = CellTruth(
            self.counted[part],
            self.heat_keys[heat] - first * self.classes,
            self.heat[heat],
            self.box_keys[boxes] - first,
            self.sides[boxes],
            self.weights[boxes],
        )
        return truth if device is None else CellTruth(*(each.to(device, non_blocking=True) for each in truth))

    def weight(self) -> float:
        """Return the divisor of the loss: the number of objects, and a little for the area."""
        return self.objects + float(self.counted.sum()) / CELLS_PER_OBJECT


@dataclass(frozen=True, slots=True)
class ObjectReader:
    """Reads the objects of a run; see `TargetReader` for its members.

    Attributes:
        names: Names of the classes.
        layout: Cells of the model.
        refuses_background: Whether an object in a group that is left out is an error.
    """

    names: tuple[str, ...]
    layout: CellLayout
    refuses_background: bool = False

    def read(self, sample: Sample, place: Place, image: ImageReader, missing: Tensor | None) -> CellTargets:
        """Return the targets of the groups that this process reads.

        Raises:
            ImageError: The objects cannot be read, or are those of another image.
            DataError: An object lies in a group that is left out as background.
        """
        if sample.target is None or not place.positions:
            return nothing_counted(len(place.positions), self.layout, len(self.names))
        objects = place_objects(sample.target, image, self.names)
        window, margin = place.window, place.margin
        shift = np.array([margin[1] - window.left, margin[0] - window.top] * 2)
        near = near_objects(objects, window, self.layout)
        boxes, numbers = objects.boxes[near] + shift, objects.numbers[near]
        turn = Turn(place.quarters, place.mirror)
        if self.refuses_background:
            self._check_background(boxes, place, image)
        drawn = draw_cells(
            boxes, numbers, self.layout, (place.grid.rows, place.grid.columns), place.positions, len(self.names), turn
        )
        counted = counted_cells(objects, self.layout, place.grid, place.positions, window, margin)
        if missing is not None:
            counted &= ~missing_cells(missing, self.layout)
        return targets_of(drawn, turned_cells(counted, self.layout, turn), len(self.names))

    def join(self, targets: Sequence[CellTargets]) -> CellTargets:
        """Join the targets of the images of a batch."""
        groups = np.cumsum([0, *(len(each.counted) for each in targets)])
        cells, classes = self.layout.count, len(self.names)
        offsets = [int(before) * cells for before in groups[:-1]]

        def starts(name: str) -> NDArray[np.int64]:
            ends = np.cumsum([0, *(getattr(each, name)[-1] for each in targets)])
            own = [getattr(each, name)[:-1] + end for each, end in zip(targets, ends, strict=False)]
            return np.concatenate([*own, ends[-1:]])

        return CellTargets(
            counted=torch.cat([each.counted for each in targets]),
            heat_keys=torch.cat([t.heat_keys + o * classes for t, o in zip(targets, offsets, strict=True)]),
            heat=torch.cat([each.heat for each in targets]),
            box_keys=torch.cat([t.box_keys + o for t, o in zip(targets, offsets, strict=True)]),
            sides=torch.cat([each.sides for each in targets]),
            weights=torch.cat([each.weights for each in targets]),
            heat_starts=starts("heat_starts"),
            box_starts=starts("box_starts"),
            classes=classes,
            objects=sum(each.objects for each in targets),
        )

    def stratum(self, sample: Sample) -> int:
        """Return 0: images are not sorted by what they show."""
        return 0

    def _check_background(self, boxes: NDArray[np.float64], place: Place, image: ImageReader) -> None:
        """Raise DataError if the middle of an object lies in a group that is left out."""
        side = place.grid.group_pixels
        middles = (boxes[:, :2] + boxes[:, 2:]) / 2
        top, left = place.margin
        height, width = place.grid.size
        inside = (
            (middles[:, 0] >= left) & (middles[:, 1] >= top) & (middles[:, 0] < width) & (middles[:, 1] < height)
        )  # fmt: skip
        middles = middles[inside]
        kept = np.zeros((place.grid.rows, place.grid.columns), np.bool_)
        kept[tuple(np.array(place.kept).T)] = True
        cells = (middles // side).astype(np.int64)
        lost = middles[~kept[cells[:, 1], cells[:, 0]]]
        if len(lost):
            shown = ", ".join(
                f"({x - left + place.window.left:.0f}, {y - top + place.window.top:.0f})" for x, y in lost[:NAMED]
            )
            raise DataError(
                f"{image.path}: --skip-background leaves out groups with {counted(len(lost), 'object')}, at {shown}"
                f"{', ...' if len(lost) > NAMED else ''}; lower --background-threshold, or leave --skip-background out"
            )


def near_objects(objects: PlacedObjects, window: Window, layout: CellLayout) -> NDArray[np.int64]:
    """Return the numbers of the objects that may have heat in a window."""
    around = REACH_CELLS * layout.cell
    return objects.near(window.left - around, window.top - around, window.right + around, window.bottom + around)


def targets_of(drawn: DrawnCells, counted: NDArray[np.bool_], classes: int) -> CellTargets:
    """Return the targets of groups from what was drawn and which cells count, [g c]."""
    groups, cells = counted.shape
    edges = np.arange(groups + 1)
    seen = counted.reshape(-1)[drawn.box_keys]
    box_keys = drawn.box_keys[seen]
    middles = (drawn.heat == 1) & counted.reshape(-1)[drawn.heat_keys // classes]
    return CellTargets(
        counted=torch.as_tensor(np.ascontiguousarray(counted)),
        heat_keys=torch.as_tensor(drawn.heat_keys),
        heat=torch.as_tensor(drawn.heat),
        box_keys=torch.as_tensor(box_keys),
        sides=torch.as_tensor(drawn.sides[seen]),
        weights=torch.as_tensor(drawn.weights[seen]),
        heat_starts=np.searchsorted(drawn.heat_keys, edges * cells * classes),
        box_starts=np.searchsorted(box_keys, edges * cells),
        classes=classes,
        objects=int(np.count_nonzero(middles)),
    )


def nothing_counted(groups: int, layout: CellLayout, classes: int) -> CellTargets:
    """Return the targets of groups of an image without annotations."""
    nothing = draw_cells(np.empty((0, 4)), np.empty(0, np.int64), layout, (1, 1), [], classes)
    return targets_of(nothing, np.zeros((groups, layout.count), np.bool_), classes)


def counted_cells(
    objects: PlacedObjects,
    layout: CellLayout,
    grid: PatchGrid,
    places: Sequence[tuple[int, int]],
    window: Window,
    margin: tuple[int, int] = (0, 0),
) -> NDArray[np.bool_]:
    """Return which cells of groups count, [g c], not turned: their middles lie in the image, where objects count.

    Args:
        objects: Objects of the image.
        layout: Cells of the model.
        grid: Groups over the canvas, which shows the window beyond the margin.
        places: (row, column) of the groups.
        window: The window of the image.
        margin: (top, left) pixels between the edges of the canvas and the window.
    """
    within = np.arange(layout.side)
    rows, columns = layout.places(np.arange(layout.count))
    counted = np.empty((len(places), layout.count), np.bool_)
    for number, (row, column) in enumerate(places):
        y = (row * layout.side + within + 0.5) * layout.cell - margin[0] + window.top
        x = (column * layout.side + within + 0.5) * layout.cell - margin[1] + window.left
        inside = ((y >= window.top) & (y < window.bottom))[:, None] & ((x >= window.left) & (x < window.right))
        if not objects.counts_everywhere:
            inside &= objects.counted(float(y[0]), float(x[0]), len(y), len(x), layout.cell)
        counted[number] = inside[rows, columns]
    return counted


def turned_cells(values: NDArray[np.bool_], layout: CellLayout, turn: Turn) -> NDArray[np.bool_]:
    """Return values of cells [g c] where the cells are after a turn."""
    if turn == Turn():
        return values
    rows, columns = layout.places(np.arange(layout.count))
    turned = np.empty_like(values)
    turned[:, layout.numbers(*layout.turned(rows, columns, *turn))] = values
    return turned


def missing_cells(missing: Tensor, layout: CellLayout) -> NDArray[np.bool_]:
    """Return which cells have no pixel [g c], from marks of missing values of patches [g n p], not turned."""
    q, side = layout.cells, layout.cell
    marks = rearrange(missing, "g n (y i x j a) -> g (n y x) (i j a)", y=q, x=q, i=side, j=side)
    absent: NDArray[np.bool_] = marks.all(dim=-1).numpy()
    return absent
