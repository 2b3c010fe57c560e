"""Computes mean, standard deviation and range of pixels, without missing pixels and outliers. numpy only.

An outlier is a value far beyond almost all others of its channel: a hot pixel, or an image in other units. Values are
compared within each window first, then the windows with each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fitcli.images.base import Pixels
from fitcli.patches.preprocessing import FULL

HOT_SHARE, HOT_REACH = 1e-4, 1.0
"""Share of the values of a window that may be outliers at each end, at least one. They are if they lie further beyond
the range of the others than this multiple of it."""

ODD_SHARE, ODD_REACH = 0.1, 10.0
"""The same for windows: an odd one lies beyond the range of the others by ten times that range."""

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class WindowStatistics:
    """Statistics of the pixels of one window, each [channels]; NaN for a channel without a usable value.

    Attributes:
        count: Number of values that mean and deviation are computed from.
        mean, std: Mean and standard deviation.
        low, high: Smallest and largest value that is no outlier.
        missing: Number of missing values.
        bounded: Whether the pixels are of 8 bits or less: then nothing lies far off, and nothing is left out.
    """

    count: Values
    mean: Values
    std: Values
    low: Values
    high: Values
    missing: int
    bounded: bool


@dataclass(frozen=True, slots=True)
class PixelStatistics:
    """Statistics of the pixels of all windows.

    Attributes:
        mean, std: Mean and standard deviation of each channel. A constant channel has the deviation 1.
        limits: Smallest and largest value over all channels; None if no pixel is present.
        missing: Share of missing values.
        odd: Numbers of the windows that are left out of the statistics of a channel, because they lie far from others.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    limits: tuple[float, float] | None
    missing: float
    odd: tuple[int, ...]


def window_statistics(pixels: Pixels, missing: NDArray[np.bool_] | None) -> WindowStatistics:
    """Compute the statistics of a window [height width channels]."""
    shape = (-1, pixels.shape[-1])
    values = pixels.reshape(shape)
    present = np.ones(values.shape, bool) if missing is None else ~missing.reshape(shape)
    bounded = pixels.dtype.name in FULL
    parts = [_channel(values[:, c][present[:, c]], bounded) for c in range(values.shape[1])]
    count, mean, std, low, high = np.array(parts, np.float64).T
    return WindowStatistics(count, mean, std, low, high, present.size - int(np.count_nonzero(present)), bounded)


def merge_statistics(windows: Sequence[WindowStatistics]) -> PixelStatistics:
    """Merge the statistics of windows. Each channel leaves out the windows that are odd in it."""
    count, mean, std, low, high = (
        np.stack([getattr(window, name) for window in windows]) for name in ("count", "mean", "std", "low", "high")
    )
    used = count > 0 if windows[0].bounded else _usual(low, high)
    lows, highs = np.where(used, low, np.inf).min(axis=0), np.where(used, high, -np.inf).max(axis=0)
    middle, spread = _moments(np.where(used, count, 0), np.where(used, mean, 0), np.where(used, std, 0))
    # Exact equality, not a small number: pixels may have any scale.
    spread = np.where((highs > lows) & (spread > 0), spread, 1.0)
    least, most = float(lows.min()), float(highs.max())
    missing = sum(window.missing for window in windows)
    return PixelStatistics(
        mean=tuple(middle.tolist()),
        std=tuple(spread.tolist()),
        limits=(least, most if most > least else least + max(1.0, abs(least) * 1e-6)) if least <= most else None,
        missing=missing / max(float(count.sum()) + missing, 1),
        odd=tuple(np.flatnonzero((~used & (count > 0)).any(axis=1)).tolist()),
    )


def _usual(low: Values, high: Values) -> NDArray[np.bool_]:
    """Return which windows are no outliers in which channels, [windows channels], from their smallest and largest."""
    used = ~np.isnan(low)
    for channel in range(low.shape[1]):
        inside = _range(low[:, channel], high[:, channel], ODD_SHARE, ODD_REACH, least=4)
        used[:, channel] &= (low[:, channel] >= inside[0]) & (high[:, channel] <= inside[1])
    return used


def _moments(count: Values, mean: Values, std: Values) -> tuple[Values, Values]:
    """Return mean and standard deviation of each channel over windows, whose own are [windows channels]."""
    share = count / np.maximum(count.sum(axis=0), 1)
    # Differences from one of the means keep the digits that a large mean would take.
    base = mean[(count > 0).argmax(axis=0), np.arange(mean.shape[1])]
    shift = np.where(count > 0, mean - base, 0)
    offset = (share * shift).sum(axis=0)
    outer = np.where(count > 0, np.abs(shift - offset), 0)
    # Divided by the largest, because squares of tiny and of huge values leave the range of floats.
    largest = np.maximum(np.maximum(std.max(axis=0), outer.max(axis=0)), np.finfo(np.float64).tiny)
    spread = np.sqrt((share * ((std / largest) ** 2 + (outer / largest) ** 2)).sum(axis=0))
    return base + offset, largest * spread


def _channel(values: Pixels, bounded: bool) -> tuple[float, float, float, float, float]:
    """Return (count, mean, std, low, high) of the present values of a channel."""
    if not values.size:
        return 0, np.nan, np.nan, np.nan, np.nan
    usual = values.astype(np.float64)
    if not bounded:
        low, high = _range(usual, usual, HOT_SHARE, HOT_REACH, least=3)
        usual = usual[(usual >= low) & (usual <= high)]
    low, high = float(usual.min()), float(usual.max())
    # A power of two changes no digit, and keeps squares in the range of floats.
    scale = 2.0 ** np.ceil(np.log2(max(high - low, np.finfo(np.float64).tiny)))
    unit = (usual - low) / scale
    offset = unit.mean()
    return usual.size, low + offset * scale, np.sqrt(np.square(unit - offset).mean()) * scale, low, high


def _range(lows: Pixels, highs: Pixels, share: float, reach: float, least: int) -> tuple[float, float]:
    """Return the range beyond which values are outliers, from the smallest and the largest values of some objects.

    Args:
        lows, highs: Values, or the ends of ranges; NaN is ignored.
        share: Share of them at each end that may be outliers; at least one.
        reach: Multiple of the range of the others by which outliers lie beyond it.
        least: Number of values below which none is an outlier.
    """
    lows, highs = lows[~np.isnan(lows)], highs[~np.isnan(highs)]
    drop = max(1, int(share * len(lows)))
    if len(lows) < max(least, 2 * drop + 1):
        return -np.inf, np.inf
    low = float(np.partition(lows, drop)[drop])
    high = float(np.partition(highs, len(highs) - 1 - drop)[len(highs) - 1 - drop])
    if high <= low:
        # Almost all are equal: the others may be thin strokes on plain ground.
        return -np.inf, np.inf
    return low - reach * (high - low), high + reach * (high - low)
