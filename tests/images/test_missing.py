"""Missing pixels are those of the nodata value as the file stores it, NaN and infinity; others are not."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

from fitcli.images.missing import avoid_nodata, missing_pixels, nodata_pixels, nodata_value

FLOATS, INTEGERS = ("float16", "float32", "float64"), ("uint8", "int8", "uint16", "int16", "uint32", "int32", "int64")
LOWEST = -3.4028234663852886e38


def missing(pixels: np.ndarray[Any, Any], nodata: float | None) -> list[bool]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = missing_pixels(pixels.reshape(1, -1, 1), nodata)
    return [False] * pixels.size if found is None else found.ravel().tolist()


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("nodata", [None, -9999.0, -1.0, 0.1, float("nan"), float("inf"), LOWEST, 1e308])
def test_floats(dtype: str, nodata: float | None) -> None:
    """The value is rounded as the file rounds it. NaN and infinity are missing whatever the nodata value is."""
    with np.errstate(over="ignore"):
        stored = np.array(0.0 if nodata is None else nodata).astype(dtype)
    pixels = np.array([1, 2, np.nan, np.inf, -np.inf, stored, 3], dtype)
    assert missing(pixels, nodata) == [False, False, True, True, True, nodata is not None, False]


@pytest.mark.parametrize(
    "spelling", ["-3.4028234663852886e+38", "-3.40282346639e+38", "-3.40282e+38", "-3.4028235e+38", "-3.4028236e+38",
                 "-1.7976931348623157e+308"]
)  # fmt: skip
def test_the_lowest_float_in_any_spelling(spelling: str) -> None:
    pixels = np.array([np.finfo(np.float32).min, -1e37, 0, np.finfo(np.float32).max], np.float32)
    assert missing(pixels, float(spelling)) == [True, False, False, False]
    wide = pixels.astype(np.float64)
    assert missing(wide, float(spelling))[1:] == [False, False, False]


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers(dtype: str) -> None:
    limits = np.iinfo(dtype)
    pixels = np.array([limits.min, 0, 1, 5, limits.max], dtype)
    for number in (limits.min, 0, 5):
        assert missing(pixels, float(number)) == (pixels == number).tolist()
    for nodata in (None, 0.5, float("nan"), float("inf"), LOWEST, -1e30, limits.max * 4.0):
        assert not any(missing(pixels, nodata)), nodata
        assert nodata_pixels(pixels, nodata) is None


def test_truth_values_and_neighbours() -> None:
    assert missing(np.array([False, True]), 1.0) == [False, True]
    assert missing(np.array([False, True]), 255.0) == [False, False]
    near = np.array([-9999, np.nextafter(np.float32(-9999), np.float32(0)), -9998.99], np.float32)
    assert missing(near, -9999.0) == [True, False, False]


@pytest.mark.parametrize("dtype", [*FLOATS, *INTEGERS])
@pytest.mark.parametrize("nodata", [0.0, 100.0, 127.0])
def test_new_pixels_do_not_count_as_missing(dtype: str, nodata: float) -> None:
    pixels = np.array([0, 1, 100, 127], dtype)
    changed = avoid_nodata(pixels, nodata)
    assert (changed.dtype, missing(changed, nodata)) == (pixels.dtype, [False] * 4)
    others = pixels != nodata
    np.testing.assert_array_equal(changed[others], pixels[others])
    np.testing.assert_allclose(changed.astype(float), pixels.astype(float), atol=1)
    assert avoid_nodata(pixels, None) is pixels


def test_a_value_that_a_type_cannot_hold() -> None:
    assert nodata_value(-9999.0, np.dtype("uint8")) is None
    assert nodata_value(None, np.dtype("float32")) is None
    assert nodata_value(-1e308, np.dtype("float32")) == np.finfo(np.float32).min
