"""Stores the patches of one image between steps, and cuts them into the groups that a step computes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from einops import rearrange
from torch import Tensor

from fitcli.streaming.token_store import StoreKind, TokenStore, open_store
from models.groups import Groups


class Canvas:
    """Stored patches [rows columns p] of an image.

    Args:
        store: Store with one entry per patch, row by row. The canvas owns it.
        rows, columns: Number of rows and columns of patches.
    """

    def __init__(self, store: TokenStore, rows: int, columns: int) -> None:
        self.rows, self.columns = rows, columns
        self._store = store

    def read(self, top: int, left: int, rows: int, columns: int) -> Tensor:
        """Read the patches [rows columns p] of a rectangle on the canvas, on the device of the store."""
        starts = [row * self.columns + left for row in range(top, top + rows)]
        if (left, columns) == (0, self.columns):
            return self._store.get(slice(starts[0], starts[0] + rows * columns)).reshape(rows, columns, -1)
        return torch.stack([self._store.get(slice(start, start + columns))[:, 0] for start in starts])

    def write(self, top: int, left: int, patches: Tensor) -> None:
        """Store patches [rows columns p] of a rectangle on the canvas."""
        rows, columns = patches.shape[:2]
        if (left, columns) == (0, self.columns):
            start = top * columns
            self._store.put(slice(start, start + rows * columns), patches.reshape(rows * columns, 1, -1))
            return
        for row, line in enumerate(patches, top):
            start = row * self.columns + left
            self._store.put(slice(start, start + len(line)), line[:, None])

    def flush(self) -> None:
        """Wait until everything written so far is safe on disk, if the store is a file."""
        self._store.flush()

    def close(self) -> None:
        """Release memory and files. Idempotent."""
        self._store.close()


def open_canvas(
    kind: StoreKind,
    rows: int,
    columns: int,
    values: int,
    device: torch.device,
    path: Path | None = None,
    dtype: torch.dtype = torch.float32,
) -> Canvas:
    """Open a canvas.

    Args:
        kind: Kind of the store. Patches of a "device" store are read to `device`, others to the host.
        rows, columns: Number of rows and columns of patches.
        values: Number of values per patch.
        device: Device of a "device" store.
        path: File of a "disk" store that outlasts the process, see `DiskStore`; None for a temporary one.
        dtype: Dtype of the values.

    Raises:
        FitError: There is not enough memory or disk space.
    """
    read_to = device if kind == "device" else torch.device("cpu")
    shape = (rows * columns, 1, values)
    return Canvas(open_store(kind, shape, dtype, read_to, path=path), rows, columns)


@dataclass(frozen=True, slots=True)
class CanvasLayout:
    """Square groups over a canvas of patches.

    Attributes:
        rows, columns: Number of rows and columns of patches on the canvas, multiples of `group`.
        group: Number of patches per side of a group.
        offset: Number of patches by which the first group starts above and left of the canvas, less than `group`.
            Patches outside the canvas are padding.

    Raises:
        ValueError: The canvas does not consist of whole groups, or the offset is not less than a group.
    """

    rows: int
    columns: int
    group: int
    offset: int = 0

    def __post_init__(self) -> None:
        if self.rows % self.group or self.columns % self.group or not 0 <= self.offset < self.group:
            raise ValueError(
                f"no groups of {self.group} patches with offset {self.offset} fit {self.rows} x {self.columns} patches"
            )

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and columns of groups."""
        more = self.offset > 0
        return self.rows // self.group + more, self.columns // self.group + more

    @property
    def count(self) -> int:
        """Number of groups."""
        rows, columns = self.shape
        return rows * columns

    def groups(self) -> Groups:
        """Return all groups. With an offset, their coordinates on the canvas are fractions of a group."""
        groups = Groups.of_grid(1, *self.shape)
        if not self.offset:
            return groups
        rows, columns = ((groups.coordinates * self.group - self.offset)[:, i, None] for i in (0, 1))
        steps = torch.arange(self.group)
        inside_rows = (rows + steps >= 0) & (rows + steps < self.rows)
        inside_columns = (columns + steps >= 0) & (columns + steps < self.columns)
        mask = rearrange(inside_rows[:, :, None] & inside_columns[:, None, :], "g i j -> g (i j)")
        return groups._replace(coordinates=groups.coordinates - self.offset / self.group, mask=mask)

    def read(self, canvas: Canvas, part: slice) -> Tensor:
        """Read the patches [part n p] of a slice of the groups. Padding is 0."""
        runs = []
        for top, left, groups in self._runs(part):
            inside = self._clip(top, left, groups)
            patches = canvas.read(*inside)
            runs.append(self._cut(patches, (inside[0] - top, inside[1] - left), groups))
        return runs[0] if len(runs) == 1 else torch.cat(runs)

    def write(self, canvas: Canvas, part: slice, values: Tensor) -> None:
        """Write the patches [part n p] of a slice of the groups to the canvas. Padding is dropped."""
        done = 0
        for top, left, groups in self._runs(part):
            run = rearrange(values[done : done + groups], "g (i j) p -> i (g j) p", i=self.group)
            first_row, first_column, rows, columns = self._clip(top, left, groups)
            row, column = first_row - top, first_column - left
            canvas.write(first_row, first_column, run[row : row + rows, column : column + columns])
            done += groups

    def places(self, part: slice) -> list[tuple[int, int]]:
        """Return the (top, left) of each group in patches, negative outside the canvas."""
        return [(top, left + number * self.group) for top, left, groups in self._runs(part) for number in range(groups)]

    def _runs(self, part: slice) -> Iterator[tuple[int, int, int]]:
        """Yield (top, left, number of groups) of each run of neighbouring groups in a row, in patches."""
        columns, start = self.shape[1], part.start
        while start < part.stop:
            row, column = divmod(start, columns)
            groups = min(part.stop - start, columns - column)
            yield row * self.group - self.offset, column * self.group - self.offset, groups
            start += groups

    def _clip(self, top: int, left: int, groups: int) -> tuple[int, int, int, int]:
        """Return (top, left, rows, columns) of the part of a run that lies on the canvas, in patches."""
        bottom, right = min(top + self.group, self.rows), min(left + groups * self.group, self.columns)
        return max(top, 0), max(left, 0), bottom - max(top, 0), right - max(left, 0)

    def _cut(self, patches: Tensor, start: tuple[int, int], groups: int) -> Tensor:
        """Cut a run into groups [g n p], from its patches [rows columns p] on the canvas, which begin at `start`."""
        if patches.shape[:2] != (self.group, groups * self.group):
            whole = patches.new_zeros(self.group, groups * self.group, patches.shape[-1])
            whole[start[0] : start[0] + len(patches), start[1] : start[1] + patches.shape[1]] = patches
            patches = whole
        return rearrange(patches, "i (g j) p -> g (i j) p", g=groups)
