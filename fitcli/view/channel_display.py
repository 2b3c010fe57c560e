"""Turns channels of any type into a picture of 8 bits: which ones, their ranges and their colours."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fitcli.annotations.class_colors import with_colors
from fitcli.annotations.class_table import ClassTable, Color
from fitcli.images.base import ImageReader, Level, Pixels
from fitcli.images.missing import missing_pixels
from fitcli.images.window import Window
from fitcli.view.value_scale import shares

PRIMARIES: tuple[Color, ...] = ((255, 0, 0), (0, 255, 0), (0, 0, 255))
WHITE: Color = (255, 255, 255)

MOST_SHOWN, MOST_LISTED = 8, 256
"""Most channels that are shown together, and that the page lists."""

SAMPLED_VALUES, WINDOWS = 1 << 22, 4
"""Most values that are read to measure ranges, and windows per side of which they consist in a large level."""

PERCENTILES = (0.5, 99.5)
"""Shares of the values that a measured range leaves out at both ends, in percent."""

CHOICE = re.compile(r"(\d{1,6}):(-?[\d.eE+-]{1,24}):(-?[\d.eE+-]{1,24}):([0-9a-f]{6})", re.ASCII)


@dataclass(frozen=True, slots=True)
class ShownChannel:
    """How a channel is shown.

    Attributes:
        number: Number of the channel.
        low, high: Values that are black, and full colour.
        color: Its colour.
    """

    number: int
    low: float
    high: float
    color: Color

    def text(self) -> str:
        """Return it as it stands in an address."""
        return f"{self.number}:{self.low:.9g}:{self.high:.9g}:{bytes(self.color).hex()}"


def parse_channels(text: str, count: int) -> tuple[ShownChannel, ...] | None:
    """Return the channels that an address names, as `ShownChannel.text` joined by commas; None if they are impossible.

    Args:
        text: The text.
        count: Number of channels of the image.
    """
    parts = text.split(",", MOST_SHOWN)
    found = [CHOICE.fullmatch(part) for part in parts]
    if len(parts) > MOST_SHOWN or None in found:
        return None
    channels = []
    for match in found:
        assert match is not None
        try:
            number, low, high = int(match[1]), float(match[2]), float(match[3])
        except ValueError:
            return None
        if number >= count or not (math.isfinite(low) and math.isfinite(high) and low < high):
            return None
        channels.append(ShownChannel(number, low, high, _color(match[4])))
    return tuple(channels)


def _color(digits: str) -> Color:
    red, green, blue = bytes.fromhex(digits)
    return red, green, blue


def first_channels(image: ImageReader, colors: Sequence[str] = ()) -> tuple[ShownChannel, ...]:
    """Return how each channel is shown at first; the first three of them are.

    Colours and bytes have the range of their type. Other ranges are measured.

    Args:
        image: The open image.
        colors: Colours of the channels as "#RRGGBB" that the file states, "" for those that it does not.
    """
    info = image.info
    count = min(info.channels, MOST_LISTED)
    ranges = [(0.0, 1.0 if info.dtype.kind == "b" else 255.0)] * count
    if info.dtype.name not in ("uint8", "bool"):
        ranges = measured_ranges(image, count)
        if info.color and count >= 3:
            # One range for all keeps the hue.
            ranges[:3] = [(min(low for low, _ in ranges[:3]), max(high for _, high in ranges[:3]))] * 3
    return tuple(ShownChannel(n, *ranges[n], color) for n, color in enumerate(_colors(count, info.color, colors)))


def _colors(count: int, is_color: bool, stated: Sequence[str]) -> list[Color]:
    if count == 1:
        return [WHITE]
    # Channels beyond the primaries have distinct colours.
    others = with_colors(ClassTable(tuple(map(str, range(254))), tuple(range(254)))).colors
    colors = [PRIMARIES[n] if n < 3 else others[n % len(others)] or WHITE for n in range(count)]
    for number, text in enumerate(stated[:count] if not is_color else ()):
        if re.fullmatch("#[0-9a-fA-F]{6}", text):
            colors[number] = _color(text[1:])
    return colors


def measured_ranges(image: ImageReader, count: int) -> list[tuple[float, float]]:
    """Return the range of the values of the first channels, from the smallest level, without missing pixels."""
    level = len(image.info.levels) - 1
    stored = image.info.levels[level]
    pieces = [image.read(window, level)[..., :count] for window in _sampled(stored, image.info.channels)]
    values = np.concatenate([piece.reshape(-1, count) for piece in pieces])
    missing = missing_pixels(values[:, None], image.info.nodata)
    ranges = []
    for number in range(count):
        own = values[:, number] if missing is None else values[~missing[:, 0, number], number]
        ranges.append(_range(own))
    return ranges


def _range(values: NDArray[Any]) -> tuple[float, float]:
    if not values.size:
        return 0.0, 1.0
    exact = values.astype(np.float64)
    # Halves, because differences of the largest floats overflow.
    low, high = (2 * float(value) for value in np.percentile(exact / 2, PERCENTILES))
    if low == high:
        low, high = float(exact.min()), float(exact.max())
    if low == high:
        low, high = (0.0, high) if high > 0 else (low, 0.0) if low < 0 else (0.0, 1.0)
    return _rounded(low, high)


def _rounded(low: float, high: float) -> tuple[float, float]:
    """Return a range with few digits, for a person who changes them: to a thousandth of its length."""
    if not math.isfinite(high - low):
        return low, high
    digits = 3 - math.floor(math.log10(high - low))
    short = round(low, digits), round(high, digits)
    return short if short[0] < short[1] else (low, high)


def _sampled(level: Level, channels: int) -> list[Window]:
    """Return the whole level, or windows all over a large one."""
    height, width, most = level.height, level.width, max(SAMPLED_VALUES // channels, WINDOWS**2)
    if height * width <= most:
        return [Window(0, 0, height, width)]
    side = math.isqrt(most) // WINDOWS
    places = [(n + 0.5) / WINDOWS for n in range(WINDOWS)]
    return [
        Window(max(0, int(height * y) - side // 2), max(0, int(width * x) - side // 2), side, side).clip(height, width)
        for y in places
        for x in places
    ]


def picture(pixels: Pixels, channels: Sequence[ShownChannel], nodata: float | None = None) -> NDArray[np.uint8]:
    """Return a picture [height width 3] of pixels [height width channels]; missing pixels are black."""
    plain = [(n, 0.0, 255.0, color) for n, color in enumerate(PRIMARIES)]
    shown = [(each.number, each.low, each.high, each.color) for each in channels]
    if pixels.dtype == np.uint8 and shown == plain:
        return np.ascontiguousarray(pixels[..., :3])
    light = np.zeros((*pixels.shape[:2], 3), np.float32)
    for each in channels:
        unit = shares(pixels[..., each.number], each.low, each.high)
        missing = missing_pixels(pixels[..., each.number, None], nodata)
        if missing is not None:
            unit = np.where(missing[..., 0], 0, unit)
        light += unit.astype(np.float32)[..., None] * np.array(each.color, np.float32)
    shades: NDArray[np.uint8] = np.rint(light.clip(0, 255)).astype(np.uint8)
    return shades
