"""Pixels survive the way to values and back, and the values are those of training."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fitcli.patches.cutting import to_unit
from fitcli.patches.preprocessing import Preprocessing
from fitcli.patches.value_range import PixelRange


def pixels_of(dtype: str, limits: tuple[float, float] | None = None) -> Preprocessing:
    return Preprocessing(channels=1, dtype=dtype, mean=(0.5,), std=(1.0,), limits=limits)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "bool"])
def test_every_integer_survives(dtype: str) -> None:
    every = np.arange(2) == 1 if dtype == "bool" else np.arange(np.iinfo(dtype).max + 1).astype(dtype)
    values = PixelRange.of(pixels_of(dtype)).to_values(every)
    assert (values[0], values[-1]) == (0, 1)
    assert np.array_equal(PixelRange.of(pixels_of(dtype)).to_pixels(values), every)


@pytest.mark.parametrize(("dtype", "limits"), [("uint8", None), ("float32", (-3.0, 5.0)), ("int16", (-100.0, 900.0))])
def test_values_are_those_of_training(dtype: str, limits: tuple[float, float] | None) -> None:
    pixels = (np.random.default_rng(0).normal(100, 60, 500)).clip(0, 255).astype(dtype)
    if dtype == "float32":
        pixels[:4] = np.nan, np.inf, -np.inf, 1.0
    preprocessing = pixels_of(dtype, limits)
    expected = to_unit(torch.tensor(pixels), *preprocessing.range)
    np.testing.assert_allclose(PixelRange.of(preprocessing).to_values(pixels), expected.numpy(), atol=1e-6)


@pytest.mark.parametrize(
    ("dtype", "low", "high"), [("uint16", 300, 1500), ("uint16", 0, 1023), ("int32", 10**9, 10**9 + 9)]
)
def test_integers_between_limits_survive(dtype: str, low: int, high: int) -> None:
    every, values = np.arange(low, high + 1).astype(dtype), PixelRange.of(pixels_of(dtype, (low, high)))
    found = values.to_values(every)
    assert (found[0], found[-1]) == (0, 1)
    np.testing.assert_array_equal(values.to_pixels(found), every)


def test_values_beyond_the_range_are_black_and_white() -> None:
    values = np.array([-0.2, 0.0, 0.5, 1.0, 7.0], np.float32)
    assert PixelRange.of(pixels_of("uint8")).to_pixels(values).tolist() == [0, 0, 128, 255, 255]
    floats = PixelRange.of(pixels_of("float32", (-1.0, 3.0))).to_pixels(values)
    assert floats.tolist() == [-1, -1, 1, 3, 3]
    assert floats.dtype == np.float32
