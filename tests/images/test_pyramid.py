"""Halving equals the slow obvious reference; sizes of levels."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.writer_contract import halved

from fitcli.images.pyramid import halve, pyramid_levels


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "f2", "f4", "f8"])
@pytest.mark.parametrize("size", [(1, 1), (1, 8), (7, 1), (8, 6), (9, 13)])
@pytest.mark.parametrize("planar", [False, True])
def test_mean(dtype: str, size: tuple[int, int], planar: bool) -> None:
    limits: Any = np.finfo(dtype) if dtype[0] == "f" else np.iinfo(dtype)
    random = np.random.default_rng(0)
    extremes = random.choice([limits.min, limits.max, 0, 1, 2, 3], (*size, 3))
    pixels = (random.normal(size=(*size, 3)) if dtype[0] == "f" else extremes).astype(dtype)
    if planar:
        pixels = np.ascontiguousarray(pixels.transpose(2, 0, 1)).transpose(1, 2, 0)
    small = halve(pixels, "mean")
    assert small.dtype == pixels.dtype
    if dtype == "f8":
        np.testing.assert_allclose(small, halved(pixels), atol=1e-15)
    else:
        np.testing.assert_array_equal(small, halved(pixels))


def test_nan_is_left_out() -> None:
    pixels = np.random.default_rng(0).normal(size=(9, 11, 2)).astype(np.float32)
    pixels[2:5, 3:8] = np.nan
    small = halve(pixels, "mean")
    np.testing.assert_array_equal(small, halved(pixels))
    assert np.isnan(small).any()


@pytest.mark.parametrize("nodata", [None, -99.0, 1e39])
def test_infinity_is_left_out(nodata: float | None) -> None:
    pixels = np.array([[1, np.inf, np.inf, -np.inf], [2, 3, np.inf, np.inf]], np.float32)[:, :, None]
    mark = np.nan if nodata is None else np.float32(min(nodata, float(np.finfo(np.float32).max)))
    np.testing.assert_array_equal(halve(pixels, "mean", nodata)[:, :, 0], [[2, mark]])


@pytest.mark.parametrize(("dtype", "value"), [("i2", 1), ("f4", np.nextafter(np.float32(0), np.float32(1)))])
def test_a_mean_is_not_nodata_by_chance(dtype: str, value: float) -> None:
    pixels = np.array([[-5, 5, -3, 0], [5, -5, 0, 3]], dtype)[:, :, None]
    assert halve(pixels[:, :2], "mean", nodata=0)[:, :, 0].tolist() == [[value]]
    assert halve(pixels, "mean", nodata=0)[:, :, 0].tolist() == [[value, value]]


@pytest.mark.parametrize("dtype", ["i2", "f4"])
def test_nodata_is_left_out(dtype: str) -> None:
    pixels = np.array([[-99, 3, -99, -99], [4, -99, -99, -99]], dtype)[:, :, None]
    small = halve(pixels, "mean", nodata=-99)
    assert small[:, :, 0].tolist() == [[4 if dtype == "i2" else 3.5, -99]]


def test_nodata_and_nan_together() -> None:
    pixels = np.array([[-99, 3, np.nan, -99], [np.nan, 1, np.nan, np.nan]], np.float32)[:, :, None]
    assert halve(pixels, "mean", nodata=-99)[:, :, 0].tolist() == [[2, -99]]


def test_nearest() -> None:
    pixels = np.arange(35, dtype=np.uint8).reshape(5, 7, 1)
    small = halve(pixels, "nearest")
    np.testing.assert_array_equal(small, pixels[::2, ::2])
    assert not np.shares_memory(small, pixels)


@given(st.integers(1, 10**6), st.integers(1, 10**6), st.sampled_from([16, 256, 512]))
def test_levels_end_when_they_fit_in_a_chunk(height: int, width: int, chunk: int) -> None:
    levels = pyramid_levels(height, width, chunk)
    assert (levels[0].height, levels[0].width, levels[0].downsample) == (height, width, 1)
    for above, below in pairwise(levels):
        assert max(above.height, above.width) > chunk
        assert (below.height, below.width) == ((above.height + 1) // 2, (above.width + 1) // 2)
        assert below.downsample == 2 * above.downsample
    assert max(levels[-1].height, levels[-1].width) <= chunk
