"""Windows, grids and patches: integer properties that hold for every size."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fitcli.images.array_image import ArrayReader
from fitcli.images.window import Window
from fitcli.patches.cutting import cut, groups_of, join, normalize, read_patches, to_patches, to_pixels
from fitcli.patches.grid import PatchGrid

sizes = st.tuples(st.integers(1, 70), st.integers(1, 70))
grids = st.builds(PatchGrid, sizes, st.integers(1, 9), st.integers(1, 5))
windows = st.builds(Window, st.integers(-30, 30), st.integers(-30, 30), st.integers(0, 30), st.integers(0, 30))


def cells(window: Window) -> set[tuple[int, int]]:
    return {(y, x) for y in range(window.top, window.bottom) for x in range(window.left, window.right)}


def picture(size: tuple[int, int], channels: int = 3, dtype: str = "uint8") -> np.ndarray:
    return np.random.default_rng(0).integers(0, 250, (*size, channels)).astype(dtype)


@given(windows, windows)
def test_intersection_is_what_both_cover(a: Window, b: Window) -> None:
    assert cells(a.intersection(b)) == cells(a) & cells(b)
    assert a.intersection(b).area == len(cells(a) & cells(b))


@given(windows, st.integers(1, 8), st.integers(1, 8))
def test_chunks_are_those_with_a_pixel_of_the_window(window: Window, height: int, width: int) -> None:
    expected = {(y // height, x // width) for y, x in cells(window)}
    assert sorted(expected) == window.chunks(height, width)


def test_a_negative_window_is_refused() -> None:
    with pytest.raises(ValueError, match="-1 x 3"):
        Window(0, 0, -1, 3)


@given(grids)
def test_every_pixel_belongs_to_exactly_one_patch(grid: PatchGrid) -> None:
    owners = np.zeros(grid.size, int)
    for group in range(grid.count):
        for patch in range(grid.group**2):
            window = grid.patch_window(group, patch).clip(*grid.size)
            owners[window.slices()] += 1
            for y, x in list(cells(window))[:1]:
                assert grid.patch_at(y, x) == (group, patch)
    assert (owners == 1).all()


@given(grids)
def test_group_windows_cover_the_padded_image_once(grid: PatchGrid) -> None:
    cover = np.zeros(grid.padded, int)
    for row, column in grid.coordinates():
        cover[grid.window(row, column).slices()] += 1
    assert (cover == 1).all()
    assert all(0 <= padded - side < grid.group_pixels for padded, side in zip(grid.padded, grid.size, strict=True))


@given(grids)
def test_masks_mark_the_patches_with_pixels(grid: PatchGrid) -> None:
    mask = groups_of(grid).mask
    for group in range(grid.count):
        for patch in range(grid.group**2):
            filled = grid.patch_window(group, patch).clip(*grid.size).area > 0
            assert filled == (True if mask is None else bool(mask[group, patch]))


@given(grids, st.sampled_from(["uint8", "uint16", "float32"]))
def test_pixels_survive_being_cut(grid: PatchGrid, dtype: str) -> None:
    pixels = picture(grid.size, 2, dtype)
    patches = to_patches(pixels, grid)
    assert patches.shape == (grid.count, grid.group**2, 2 * grid.patch**2)
    np.testing.assert_array_equal(to_pixels(patches, grid), pixels)


@given(grids)
def test_a_patch_holds_its_pixels_row_by_row(grid: PatchGrid) -> None:
    pixels = picture(grid.size)
    padded = np.pad(pixels, [(0, a - b) for a, b in zip(grid.padded, grid.size, strict=True)] + [(0, 0)], mode="edge")
    patches = to_patches(pixels, grid).numpy()
    for group in (0, grid.count - 1):
        for patch in (0, grid.group**2 - 1):
            window = grid.patch_window(group, patch)
            np.testing.assert_array_equal(patches[group, patch], padded[window.slices()].ravel())


@given(grids, st.data())
def test_reading_groups_equals_cutting_the_whole(grid: PatchGrid, data: st.DataObject) -> None:
    pixels = picture(grid.size)
    places = list(grid.coordinates())
    start = data.draw(st.integers(0, grid.count - 1))
    stop = data.draw(st.integers(start + 1, grid.count))
    read = read_patches(ArrayReader(pixels), grid, places[start:stop])
    assert torch.equal(read, to_patches(pixels, grid)[start:stop])


def test_rectangular_patches_join_to_what_was_cut() -> None:
    pixels = picture((12, 24))
    patches = cut(pixels, (3, 2), (2, 4))
    assert patches.shape == (6, 8, 18)
    np.testing.assert_array_equal(join(patches, (3, 2), (2, 4), columns=3), pixels)
    with pytest.raises(ValueError, match="not whole groups"):
        cut(pixels, (5, 2), (2, 4))


def test_normalising_is_per_channel_and_hides_nan() -> None:
    pixels = np.array([[[10.0, 200.0], [np.nan, 100.0]]], np.float32)
    patches = cut(pixels, (1, 2), (1, 1))
    out = normalize(patches, torch.tensor([10.0, 100.0]), torch.tensor([2.0, 50.0]))
    assert out.tolist() == [[[0.0, 2.0, 0.0, 0.0]]]


def test_wrong_sizes_are_named() -> None:
    grid = PatchGrid((10, 12), 4, 2)
    with pytest.raises(ValueError, match=r"\(10, 12\).*\(5, 5, 3\)"):
        to_patches(picture((5, 5)), grid)
    with pytest.raises(ValueError, match="do not fill a grid"):
        to_pixels(torch.zeros(3, 4, 48), grid)
    with pytest.raises(IndexError, match="no group"):
        grid.window(2, 0)
    with pytest.raises(IndexError, match="no pixel"):
        grid.patch_at(10, 0)
    with pytest.raises(ValueError, match="no grid"):
        PatchGrid((0, 4), 4, 2)
