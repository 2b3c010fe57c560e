"""Numbers of metadata keep every digit: as text, in files of every format, and in what is printed."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from numpy.typing import NDArray

from fitcli.images.base import ImageInfo
from fitcli.images.missing import missing_pixels
from fitcli.images.numbers import exact_number, number_text, value_text
from fitcli.images.open import create_image, open_image
from fitcli.images.window import Window

INTEGERS = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "int64", "uint64")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("9223372036854775807", 2**63 - 1),
        ("18446744073709551615.0", 2**64 - 1),
        ("-9.223372036854775808e18", -(2**63)),
        (" -9999 ", -9999),
        ("-9999.0", -9999),
        ("0.1", 0.1),
        ("-3.4028234663852886e+38", -3.4028234663852886e38),
        ("1e999999999", None),
        ("1e-999999999", 0.0),
        (2**53 + 1, 2**53 + 1),
        (1e19, 10**19),
        ("-inf", -math.inf),
        ("", None),
        ("none", None),
        ("0x10", None),
    ],
)
def test_what_a_text_states(text: str | float, expected: float | None) -> None:
    assert exact_number(text) == expected
    if expected is not None:
        assert exact_number(number_text(expected)) == expected


def test_nan() -> None:
    assert all(math.isnan(exact_number(text) or 0) for text in ("nan", "NaN", "sNaN", number_text(math.nan)))


def test_text_of_any_float_reads_as_that_float() -> None:
    for bits in np.random.default_rng(0).integers(0, 2**63, 2000):
        number = float(np.int64(bits).view(np.float64))
        assert exact_number(number_text(number)) == number or math.isnan(number)
    assert [number_text(each) for each in (-9999.0, 0.25, 1e-8, 255)] == ["-9999", "0.25", "1e-08", "255"]


@pytest.mark.parametrize("dtype", INTEGERS)
def test_a_limit_is_within_the_range_of_its_type(dtype: str) -> None:
    """float(2^63 - 1) is 2^63, which no int64 is."""
    limits = np.iinfo(dtype)
    assert value_text(float(limits.max), np.dtype(dtype)) == str(limits.max)
    assert value_text(float(limits.min), np.dtype(dtype)) == str(limits.min)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_the_text_of_a_float_names_one_value_of_its_type(dtype: str) -> None:
    for number in (0.1, 2.25, 1234.5678, np.nextafter(np.array(1, dtype), np.array(2, dtype)).item()):
        own = np.dtype(dtype).type(number)
        assert np.dtype(dtype).type(value_text(float(own), np.dtype(dtype))) == own
    assert value_text(float(np.float32(0.1)), np.dtype("float32")) == "0.1"


def store_tiff(path: Path, pixels: NDArray[Any], nodata: int) -> None:
    tag = (42113, "s", 0, number_text(nodata), True)
    tifffile.imwrite(path, pixels, photometric="minisblack", extratags=[tag])


def store_zarr(path: Path, pixels: NDArray[Any], nodata: int) -> None:
    array = zarr.create_array(path, data=pixels, dimension_names=("y", "x"))
    array.attrs["_FillValue"] = nodata


def store_own(path: Path, pixels: NDArray[Any], nodata: int) -> None:
    info = ImageInfo(height=1, width=3, channels=1, dtype=pixels.dtype, nodata=nodata)
    with create_image(path, info) as writer:
        writer.write(Window(0, 0, 1, 3), pixels[..., None])


WAYS = {"by-other.tif": store_tiff, "by-other.zarr": store_zarr, "own.tif": store_own, "own.zarr": store_own}


@pytest.mark.parametrize(
    ("name", "dtype"),
    [(name, dtype) for name in WAYS for dtype in INTEGERS if "64" not in dtype or WAYS[name] is not store_own],
)
def test_both_ends_of_every_integer_mark_missing_pixels(tmp_path: Path, name: str, dtype: str) -> None:
    """The neighbours of a value beyond 2^53 round to the same float, but they are pixels like others."""
    limits = np.iinfo(dtype)
    for end, near in ((limits.max, limits.max - 1), (limits.min, limits.min + 1)):
        pixels = np.array([[end, near, 7]], dtype)
        WAYS[name](tmp_path / f"{end}-{name}", pixels, int(end))
        with open_image(tmp_path / f"{end}-{name}") as image:
            assert image.info.nodata == end
            missing = missing_pixels(image.read(Window(0, 0, 1, 3)), image.info.nodata)
        assert missing is not None
        assert missing.ravel().tolist() == [True, False, False]


def test_an_integer_that_a_float_may_have_rounded_is_not_shown_as_exact() -> None:
    int64 = np.dtype("int64")
    assert value_text(float(2**53 - 1), int64) == str(2**53 - 1)
    for value in (2**53, 2**53 + 1, 2**60 + 1, -(2**53) - 1):
        assert value_text(float(value), int64) == f"about {round(float(value))}"
    assert value_text(float(2**40), np.dtype("uint32")) == str(2**32 - 1)
