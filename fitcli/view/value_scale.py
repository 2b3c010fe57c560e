"""Colours of the values of a layer: those of heat maps, or a range from dark to light."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

VIRIDIS = np.array([[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]], np.float32)
"""Colours from low to high that stay in order in grey and for colour-blind people (van der Walt and Smith 2015)."""


MODERATE = 1e30
"""Ends of a range below it, which are farther apart than its inverse, suit float32."""


def shares(values: NDArray[Any], low: float, high: float) -> NDArray[np.floating[Any]]:
    """Return the place of values between two others, 0 to 1; NaN stays.

    Values of up to 16 bits are computed in float32. That would take neighbours for one value in larger types.
    """
    moderate = max(abs(low), abs(high)) < MODERATE and high - low > 1 / MODERATE
    exact: NDArray[np.floating[Any]] = values.astype(
        np.float32 if moderate and values.dtype.itemsize <= 2 else np.float64
    )
    if not math.isfinite(high - low):
        exact, low, high = exact / 2, low / 2, high / 2
    return np.asarray(((exact - low) / (high - low)).clip(0, 1))


class ValueScale(Protocol):
    """Colours of values.

    Attributes:
        unit: Meaning of a value.
        colors: [c 3] colours in equal steps from the lowest to the highest value.
        ticks: Values that a legend names, ascending; the first and the last are the ends.
        notes: Words beside a tick.
    """

    @property
    def unit(self) -> str: ...
    @property
    def colors(self) -> NDArray[np.float32]: ...
    @property
    def ticks(self) -> tuple[float, ...]: ...
    @property
    def notes(self) -> Mapping[float, str]: ...

    def position(self, values: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """Return the place of values on the scale, 0 to 1; NaN stays."""

    def shades(self, values: NDArray[np.floating[Any]]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the colours [h w 3] of values [h w] and how opaque they are, 0 to 1; 0 for NaN."""


@dataclass(frozen=True, slots=True, eq=False)
class RangeScale:
    """Colours of values from `low` to `high`, in equal steps. See `ValueScale`."""

    low: float
    high: float
    unit: str = ""

    @property
    def colors(self) -> NDArray[np.float32]:
        return VIRIDIS

    @property
    def ticks(self) -> tuple[float, ...]:
        return self.low, self.low / 2 + self.high / 2, self.high

    @property
    def notes(self) -> Mapping[float, str]:
        return {}

    def position(self, values: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        return shares(values, self.low, self.high).astype(np.float32)

    def shades(self, values: NDArray[np.floating[Any]]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        position = self.position(values)
        known = ~np.isnan(position)
        stops = np.linspace(0, 1, len(self.colors), dtype=np.float32)
        place = np.where(known, position, 0)
        color = np.stack([np.interp(place, stops, self.colors[:, n]) for n in range(3)], axis=-1)
        return color.astype(np.float32), known.astype(np.float32)


def scale_legend(scale: ValueScale, title: str) -> dict[str, Any]:
    """Return a scale as the page draws it."""
    places = scale.position(np.array(scale.ticks)).tolist()
    ticks = [
        {"place": place, "text": text, "note": scale.notes.get(tick, "")}
        for tick, place, text in zip(scale.ticks, places, _texts(scale.ticks), strict=True)
    ]
    return {"title": title, "unit": scale.unit, "colors": np.rint(scale.colors).astype(int).tolist(), "ticks": ticks}


def _texts(ticks: tuple[float, ...]) -> list[str]:
    """Return ticks as text: with four digits, or as many as tell them apart."""
    for digits in range(4, 18):
        texts = [f"{tick:.{digits}g}" for tick in ticks]
        if len(set(texts)) == len(set(ticks)):
            break
    return texts
