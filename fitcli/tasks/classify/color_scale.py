"""The fixed scales of heat maps: which colour a value has in every picture, whatever the image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

HIGHEST = 1000.0
"""Value with the last colour; larger values have the same."""

FAINT, STRONG = 0.3, 0.85
"""How much of a pixel is colour where the value is 0, and where it is `HIGHEST`; the rest is the image in grey."""

HATCH, DARKER = (10, 2), 0.75
"""Distance and width in pixels of the diagonal lines over places without a value, and the brightness that is left."""


@dataclass(frozen=True, slots=True, eq=False)
class ColorScale:
    """Colours of values on a logarithmic scale: a value v lies at log(1 + |v|) / log(1 + HIGHEST), with the sign of v.

    Attributes:
        unit: Meaning of a value, for legends and documents.
        colors: [c 3] colours in equal steps from the lowest to the highest value.
        ticks: Values that a legend names, ascending; the first and the last are the ends of the scale.
        notes: Words beside a tick.
    """

    unit: str
    colors: NDArray[np.float32]
    ticks: tuple[float, ...]
    notes: dict[float, str]

    @property
    def range(self) -> tuple[float, float]:
        """Lowest and highest value with a colour of its own."""
        return self.ticks[0], self.ticks[-1]

    def position(self, values: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """Return the place of values on the scale: 0 at its lowest end, 1 at the highest; NaN stays."""
        reach = np.minimum(np.log1p(np.abs(values)) / np.log1p(np.float32(HIGHEST)), 1)
        low = -1 if self.range[0] < 0 else 0
        return np.asarray((np.copysign(reach, values) - low) / (1 - low), np.float32)

    def blend(self, grey: NDArray[np.float32], values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Colour grey pixels [height width 1] in 0 ... 255 by values [height width]; those with NaN are hatched."""
        color, alpha = self.shades(values)
        lines = (np.arange(values.shape[0])[:, None] + np.arange(values.shape[1])) % HATCH[0] < HATCH[1]
        grey = np.where(np.isnan(values) & lines, DARKER, 1).astype(np.float32)[..., None] * grey
        color *= alpha[..., None]
        for channel in range(3):
            color[..., channel] += grey[..., 0] * (1 - alpha)
        return color

    def shades(self, values: NDArray[np.floating[Any]]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the colours [height width 3] of values [height width], and how opaque they are; NaN has no colour."""
        position = self.position(values)
        known = ~np.isnan(position)
        place = np.where(known, position, 0)
        stops = np.linspace(0, 1, len(self.colors), dtype=np.float32)
        strength = np.abs(2 * place - 1) if self.range[0] < 0 else place
        alpha = np.where(known, FAINT + (STRONG - FAINT) * strength, 0).astype(np.float32)
        color = np.empty((*values.shape, 3), np.float32)
        for channel in range(3):
            color[..., channel] = np.interp(place, stops, self.colors[:, channel])
        return color, alpha


EVIDENCE = ColorScale(
    "times the even share",
    np.array([[40, 10, 90], [110, 15, 110], [190, 25, 80], [250, 120, 20], [255, 220, 60], [255, 255, 230]], "f4"),
    (0.0, 1.0, 10.0, 100.0, HIGHEST),
    {1.0: "even"},
)
"""Evidence. The colours rise from dark to light, so that grey prints work too."""

CONTRIBUTION = ColorScale(
    "logit if the whole image were like it",
    np.array(
        [
            [20, 60, 200],
            [60, 140, 240],
            [150, 200, 245],
            [235, 235, 235],
            [250, 190, 130],
            [240, 110, 40],
            [180, 20, 20],
        ],
        "f4",
    ),
    (-HIGHEST, -100.0, -10.0, 0.0, 10.0, 100.0, HIGHEST),
    {-HIGHEST: "against", HIGHEST: "for"},
)
"""Contributions to a class: against it in blue, for it in red."""
