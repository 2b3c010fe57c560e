"""Cutting pixels into patches loses nothing, and patches are scaled and quantised as pixels are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.patch_places import patch_window

from fitcli.images.array_image import ArrayReader
from fitcli.patches.cutting import (
    cut,
    groups_of,
    join,
    normalize,
    patches_to_levels,
    read_patches,
    statistics,
    to_patches,
    to_pixels,
    to_tensor,
    to_unit,
)
from fitcli.patches.grid import PatchGrid
from fitcli.patches.levels import to_levels
from fitcli.patches.preprocessing import Preprocessing
from fitcli.patches.value_range import PixelRange

sizes = st.tuples(st.integers(1, 70), st.integers(1, 70))
grids = st.builds(PatchGrid, sizes, st.integers(1, 9), st.integers(1, 5))


def picture(size: tuple[int, int], channels: int = 3, dtype: str = "uint8") -> np.ndarray:
    return np.random.default_rng(0).integers(0, 250, (*size, channels)).astype(dtype)


@given(grids)
def test_masks_mark_the_patches_with_pixels(grid: PatchGrid) -> None:
    mask = groups_of(grid).mask
    for group in range(grid.count):
        for patch in range(grid.group**2):
            filled = patch_window(grid, group, patch).clip(*grid.size).area > 0
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
            window = patch_window(grid, group, patch)
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


def test_wrong_sizes_are_named() -> None:
    grid = PatchGrid((10, 12), 4, 2)
    with pytest.raises(ValueError, match=r"\(10, 12\).*\(5, 5, 3\)"):
        to_patches(picture((5, 5)), grid)
    with pytest.raises(ValueError, match="do not fill a grid"):
        to_pixels(torch.zeros(3, 4, 48), grid)


def test_normalising_is_per_channel_and_hides_nan() -> None:
    pixels = np.array([[[10.0, 200.0], [np.nan, 100.0]]], np.float32)
    patches = cut(pixels, (1, 2), (1, 1))
    out = normalize(patches, torch.tensor([10.0, 100.0]), torch.tensor([2.0, 50.0]))
    assert out.tolist() == [[[0.0, 2.0, 0.0, 0.0]]]


@pytest.mark.parametrize(
    ("dtype", "scale", "offset"),
    [
        *(("float32", scale, offset * scale) for scale in (1e-8, 1.0, 1e8) for offset in (0.0, 100.0)),
        ("float64", 1e-8, 1.0), ("float64", 1.0, 1e9), ("float64", 1e-100, 0.0), ("int32", 1.0, 1e9),
        ("uint32", 1.0, 4e9), ("int64", 1.0, 1e12), ("int16", 100.0, 0.0), ("uint16", 100.0, 3e4),
        ("float16", 1.0, 0.0),
    ],
)  # fmt: skip
def test_pixels_of_every_scale_are_seen_alike(dtype: str, scale: float, offset: float) -> None:
    """Normalised values and values in the range are those of float64, also where float32 would round the pixels."""
    pixels = (offset + scale * np.random.default_rng(0).normal(0, 3, (4, 6, 1))).astype(dtype)
    exact = pixels.astype(np.float64)
    mean, std, limits = exact.mean(), exact.std(), (float(exact.min()), float(exact.max()))
    found = Preprocessing(channels=1, dtype=dtype, mean=(float(mean),), std=(float(std),), limits=limits)
    patches = cut(pixels, (2, 2), (1, 1))
    values = normalize(patches, *statistics(found, torch.device("cpu")))
    assert values.dtype == torch.float32
    tolerance = 2e-3 if dtype == "float16" else 1e-4
    np.testing.assert_allclose(values, cut((exact - mean) / std, (2, 2), (1, 1)), atol=tolerance)
    expected = (exact - limits[0]) / (limits[1] - limits[0])
    np.testing.assert_allclose(to_unit(patches, *limits), cut(expected, (2, 2), (1, 1)), atol=tolerance)
    np.testing.assert_allclose(PixelRange(*limits, pixels.dtype).to_values(pixels), expected, atol=tolerance)
    np.testing.assert_array_equal(
        patches_to_levels(patches, limits, 16), cut(to_levels(pixels, 16, limits), (2, 2), (1, 1))
    )


def test_levels_of_patches_are_those_of_pixels() -> None:
    for dtype in (np.uint8, np.uint16):
        pixels, whole = np.arange(np.iinfo(dtype).max + 1).astype(dtype), (0.0, float(np.iinfo(dtype).max))
        patches = torch.tensor(pixels)
        for levels in (2, 7, 255, 256):
            assert (patches_to_levels(patches, whole, levels).numpy() == to_levels(pixels, levels)).all()
    values = torch.tensor([-9.0, -1.0, -0.01, 0.01, 1.0, 9.0, float("nan")])
    assert patches_to_levels(values, (-1.0, 1.0), 2).tolist() == [0, 0, 0, 1, 1, 1, 1]
    many = np.random.default_rng(0).normal(0, 2, 10_000).astype(np.float32)
    many[:3] = np.nan, np.inf, -np.inf
    for levels in (2, 100, 256):
        expected = to_levels(many, levels, (-3.0, 3.5))
        assert (patches_to_levels(torch.tensor(many), (-3.0, 3.5), levels).numpy() == expected).all()
    assert to_unit(values, -1.0, 1.0).tolist() == pytest.approx([0, 0, 0.495, 0.505, 1, 1, 0.5])


def test_a_tensor_of_values_shares_their_memory() -> None:
    values = np.zeros((2, 3), np.float32)
    tensor = to_tensor(values)
    values[1, 2] = 1
    assert float(tensor[1, 2]) == 1
