"""Decides which pixels of an image are missing: those of the nodata value, NaN and infinity. numpy only."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fitcli.images.base import Pixels

SENTINEL, SPELLING = 1e30, 1e-5
"""A nodata value beyond `SENTINEL` is no measurement, and files spell it with few digits ("-3.40282e+38"): pixels that
differ from it by this share of it match, too."""


def missing_pixels(pixels: Pixels, nodata: float | None) -> NDArray[np.bool_] | None:
    """Return which values [height width channels] are missing: nodata, NaN or infinity; None if certainly none are."""
    marked = nodata_pixels(pixels, nodata)
    if pixels.dtype.kind != "f":
        return marked
    unusable: NDArray[np.bool_] = ~np.isfinite(pixels)
    return unusable if marked is None else marked | unusable


def nodata_pixels(pixels: Pixels, nodata: float | None) -> NDArray[np.bool_] | None:
    """Return which values are the nodata value, channel by channel; None if the dtype cannot hold it, or it is NaN."""
    value = nodata_value(nodata, pixels.dtype)
    if value is None or not np.isfinite(value):
        return None
    marked: NDArray[np.bool_] = pixels == value
    if pixels.dtype.kind == "f" and abs(float(value)) >= SENTINEL:
        marked |= np.abs(pixels / value - 1) <= SPELLING
    return marked


def nodata_value(nodata: float | None, dtype: np.dtype[Any]) -> Any:
    """Return the nodata value as a scalar of a dtype; None if there is none or the dtype cannot hold it.

    Floats round it as the pixels of the file were rounded, and a value beyond their range becomes their largest.
    """
    if nodata is None:
        return None
    if dtype.kind == "f":
        limits = np.finfo(dtype)
        inside = min(max(nodata, float(limits.min)), float(limits.max)) if math.isfinite(nodata) else nodata
        return dtype.type(inside)
    low, high = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    if not math.isfinite(nodata) or nodata != int(nodata) or not low <= int(nodata) <= high:
        return None
    return dtype.type(int(nodata))


def missing_mark(nodata: float | None, dtype: np.dtype[Any]) -> Any:
    """Return the scalar of a dtype that marks a missing pixel: the nodata value; NaN for floats without one."""
    value = nodata_value(nodata, dtype)
    return dtype.type(np.nan) if value is None and dtype.kind == "f" else value


def avoid_nodata(pixels: Pixels, nodata: float | None) -> Pixels:
    """Return pixels with the next value in place of the nodata value, so that none of them counts as missing."""
    marked = nodata_pixels(pixels, nodata)
    if marked is None or not marked.any():
        return pixels
    value = nodata_value(nodata, pixels.dtype)
    if pixels.dtype.kind == "f":
        other = np.nextafter(value, pixels.dtype.type(0)) if value else np.nextafter(value, pixels.dtype.type(1))
    else:
        other = value + 1 if value < np.iinfo(pixels.dtype).max else value - 1
    return np.where(marked, pixels.dtype.type(other), pixels)
