"""Levels divide the range of pixels evenly, and survive the way to pixels and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fitcli.patches.levels import from_levels, quantize, to_levels


@given(st.integers(2, 256), st.sampled_from([np.dtype(np.uint8), np.dtype(np.uint16)]))
def test_levels_divide_the_range_evenly_and_come_back(levels: int, dtype: np.dtype[Any]) -> None:
    every = np.arange(np.iinfo(dtype).max + 1).astype(dtype)
    result = to_levels(every, levels)
    assert (result == np.floor(every / (int(every[-1]) + 1) * levels)).all()
    counts = np.bincount(result)
    assert len(counts) == levels
    assert counts.max() - counts.min() <= 1
    back = from_levels(np.arange(levels), levels, dtype)
    assert (back[0], back[-1]) == (0, every[-1])
    assert (np.diff(back.astype(int)) > 0).all()
    np.testing.assert_array_equal(to_levels(back, levels), np.arange(levels))


@given(st.integers(2, 256), st.integers(0, 60000), st.integers(1, 5535))
@example(256, 0, 255)
@example(256, 7, 255)
def test_levels_divide_the_range_of_the_data_of_16_bits(levels: int, low: int, span: int) -> None:
    limits = (float(low), float(low + span))
    every = np.arange(low, low + span + 1).astype(np.uint16)
    result = to_levels(every, levels, limits)
    assert (result[0], result[-1]) == (0, levels - 1)
    assert (np.diff(result.astype(int)) >= 0).all()
    back = from_levels(np.arange(levels), levels, every.dtype, limits)
    assert (back[0], back[-1]) == limits
    if span >= 2 * levels:
        np.testing.assert_array_equal(to_levels(back, levels, limits), np.arange(levels))
    again = from_levels(result, levels, every.dtype, limits).astype(int)
    assert np.abs(again - every).max() <= (0 if span == levels - 1 else max(1, span / (levels - 1)))


def test_all_levels_of_8_bits_are_the_pixels() -> None:
    every = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(to_levels(every, 256), every)
    np.testing.assert_array_equal(from_levels(every, 256, every.dtype), every)


def test_missing_pixels_are_grey_and_those_beyond_the_limits_black_or_white() -> None:
    pixels = np.array([np.nan, -np.inf, -5, 1, 1.5, 3, np.inf], np.float32)
    assert to_levels(pixels, 4, (0.0, 2.0)).tolist() == [2, 0, 0, 2, 3, 3, 3]


def test_levels_are_rounded_towards_zero() -> None:
    assert quantize(np.array([0.0, 0.999, 1.0, 0.5])).tolist() == [0, 254, 255, 127]
    every = np.arange(256)
    np.testing.assert_array_equal(quantize((every / 255).astype(np.float32)), every)


@pytest.mark.parametrize("value", [-0.1, 1.001, float("nan")])
def test_values_beyond_the_levels_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        quantize(np.array([0.5, value]))


@given(st.integers(2, 256), st.sampled_from(["float32", "float64", "int16"]))
def test_levels_between_limits_come_back(levels: int, name: str) -> None:
    numbers, limits = np.arange(levels), (-300.0, 500.0)
    back = from_levels(numbers, levels, np.dtype(name), limits)
    np.testing.assert_array_equal(to_levels(back, levels, limits), numbers)
    assert (back[0], back[-1]) == limits
