"""Colours of the values of a layer: those of heat maps, or a range from dark to light."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

VIRIDIS = np.array([[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]], np.float32)
"""Colours from low to high that stay in order in grey and for colour-blind people (van der Walt and Smith 2015)."""


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

    def position(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the place of values on the scale, 0 to 1; NaN stays."""

    def shades(self, values: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
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
        return self.low, (self.low + self.high) / 2, self.high

    @property
    def notes(self) -> Mapping[float, str]:
        return {}

    def position(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(((values - self.low) / (self.high - self.low)).clip(0, 1), np.float32)

    def shades(self, values: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        position = self.position(values)
        known = ~np.isnan(position)
        stops = np.linspace(0, 1, len(self.colors), dtype=np.float32)
        place = np.where(known, position, 0)
        color = np.stack([np.interp(place, stops, self.colors[:, n]) for n in range(3)], axis=-1)
        return color.astype(np.float32), known.astype(np.float32)


def scale_legend(scale: ValueScale, title: str) -> dict[str, Any]:
    """Return a scale as the page draws it."""
    places = scale.position(np.array(scale.ticks, np.float32)).tolist()
    ticks = [
        {"place": place, "text": f"{tick:.4g}", "note": scale.notes.get(tick, "")}
        for tick, place in zip(scale.ticks, places, strict=True)
    ]
    return {"title": title, "unit": scale.unit, "colors": np.rint(scale.colors).astype(int).tolist(), "ticks": ticks}
