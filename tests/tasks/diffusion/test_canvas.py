"""A canvas of patches, and groups laid over it with and without an offset."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from torch import Tensor

from fitcli.patches.cutting import groups_of, to_patches
from fitcli.patches.grid import PatchGrid
from fitcli.streaming.token_store import StoreKind
from fitcli.tasks.diffusion.canvas import Canvas, CanvasLayout, open_canvas

CPU = torch.device("cpu")


def filled(kind: StoreKind, rows: int, columns: int) -> tuple[Canvas, Tensor]:
    patches = torch.randn(rows, columns, 5, generator=torch.Generator().manual_seed(0))
    canvas = open_canvas(kind, rows, columns, 5, CPU)
    canvas.write(0, 0, patches)
    return canvas, patches


@pytest.mark.parametrize("kind", get_args(StoreKind))
def test_rectangles_come_back(kind: StoreKind) -> None:
    canvas, patches = filled(kind, 6, 9)
    new = torch.ones(2, 3, 5)
    canvas.write(1, 4, new)
    patches[1:3, 4:7] = new
    for top, left, rows, columns in ((0, 0, 6, 9), (1, 4, 2, 3), (5, 8, 1, 1), (2, 0, 3, 9), (0, 3, 6, 4)):
        assert torch.equal(canvas.read(top, left, rows, columns), patches[top : top + rows, left : left + columns])
    canvas.close()


@pytest.mark.parametrize("handful", [1, 2, 3, 100])
@pytest.mark.parametrize("offset", [0, 1, 2])
def test_what_is_written_in_groups_is_read_in_groups(offset: int, handful: int) -> None:
    canvas, patches = filled("host", 6, 9)
    layout = CanvasLayout(6, 9, 3, offset)
    parts = [slice(i, min(i + handful, layout.count)) for i in range(0, layout.count, handful)]
    read = torch.cat([layout.read(canvas, part) for part in parts])
    assert torch.equal(read, layout.read(canvas, slice(0, layout.count)))
    copy = open_canvas("host", 6, 9, 5, CPU)
    for part in parts:
        layout.write(copy, part, read[part])
    assert torch.equal(copy.read(0, 0, 6, 9), patches)
    mask = layout.groups().mask
    assert mask is None if offset == 0 else torch.equal(read.abs().sum(-1) > 0, mask)


def test_without_an_offset_groups_are_those_of_the_grid() -> None:
    grid = PatchGrid((12, 24), patch=2, group=3)
    pixels = torch.rand(12, 24, 1).numpy()
    canvas, layout = open_canvas("host", 6, 12, 4, CPU), CanvasLayout(6, 12, 3)
    layout.write(canvas, slice(0, layout.count), to_patches(pixels, grid))
    for row in range(6):
        for column in range(12):
            patch = pixels[row * 2 : row * 2 + 2, column * 2 : column * 2 + 2].ravel()
            assert canvas.read(row, column, 1, 1).flatten().tolist() == patch.tolist()
    ours, theirs = layout.groups(), groups_of(grid)
    assert torch.equal(ours.coordinates, theirs.coordinates)
    assert torch.equal(ours.number, theirs.number)


def test_an_offset_moves_the_coordinates_and_hides_what_lies_beyond_the_rim() -> None:
    groups = CanvasLayout(4, 4, 2, 1).groups()
    assert groups.coordinates.tolist() == [[r - 0.5, c - 0.5] for r in range(3) for c in range(3)]
    assert groups.mask is not None
    assert groups.mask.sum() == 16
    assert groups.mask[0].tolist() == [False, False, False, True]
    assert groups.mask[4].all()
    groups.check(4)


@pytest.mark.parametrize("wrong", [(5, 6, 3, 0), (6, 5, 3, 0), (6, 6, 3, 3), (6, 6, 3, -1)])
def test_layouts_that_cannot_be_are_refused(wrong: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="no groups"):
        CanvasLayout(*wrong)
