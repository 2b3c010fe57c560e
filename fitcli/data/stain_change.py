"""Changes the amounts of the stains in bright-field images of tissue with haematoxylin and eosin.

Light that passes through stained tissue falls exponentially with the amount of each stain, so optical densities add up:
density = amounts x colours of the stains (Ruifrok and Johnston 2001, "Quantification of histochemical staining by color
deconvolution", whose colours these are). The amounts change as in Tellez et al. 2019 (arXiv:1902.06543, section 2.2,
"HED"): factor and summand of each stain are drawn for an image.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fitcli.data.color_change import Planes, mixed

HAEMATOXYLIN, EOSIN = (0.650, 0.704, 0.286), (0.072, 0.990, 0.105)
"""Optical densities of the stains in red, green and blue."""

LEAST_LIGHT = 1 / 255
"""Share of light below which density is not counted: the first step above black in 8 bits."""

STAINED = 0.15
"""Mean optical density (natural logarithm) from which a pixel is stained; the limit of Macenko et al. 2009 ("A method
for normalizing histology slides for quantitative analysis"). Below it, summands fade, so that glass stays white."""


def stain_colors() -> NDArray[np.float64]:
    """Return the unit densities of haematoxylin, eosin and what is neither [3 3], a stain per row."""
    first, second = (np.array(color) / np.linalg.norm(color) for color in (HAEMATOXYLIN, EOSIN))
    third = np.cross(first, second)
    return np.stack([first, second, third / np.linalg.norm(third)])


def restained(
    planes: Planes, gains: NDArray[np.float64], shifts: NDArray[np.float64], limits: tuple[float, float]
) -> Planes:
    """Return pixels with other amounts of haematoxylin and eosin. Black and white stay.

    Args:
        planes: Red, green and blue.
        gains, shifts: Factor and summand [2] of the amounts of both stains.
        limits: Black, and white (no density).
    """
    dtype, (black, white) = planes.dtype.type, limits
    density = (planes - dtype(black)) / dtype(white - black)
    np.clip(density, dtype(LEAST_LIGHT), None, out=density)
    np.log(density, out=density)
    np.negative(density, out=density)
    colors = stain_colors()
    # What is neither stain has a factor of 0 here: only the change of the density is computed.
    change = np.linalg.inv(colors) @ np.diag([*(gains - 1), 0.0]) @ colors
    more = mixed(density, change.T)
    added = np.array([*shifts, 0.0]) @ colors
    stained = (density[0] + density[1] + density[2]) * dtype(1 / (3 * STAINED))
    np.clip(stained, 0, 1, out=stained)
    for plane, summand in zip(more, added, strict=True):
        plane += stained * dtype(summand)
    np.negative(more, out=more)
    np.exp(more, out=more)
    more *= planes - dtype(black)
    more += dtype(black)
    return more
