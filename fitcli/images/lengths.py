"""Converts lengths to microns, from the units that image formats use."""

from __future__ import annotations

import math

MICRONS = {
    "pm": 1e-6, "nm": 1e-3, "um": 1.0, "mm": 1e3, "cm": 1e4, "m": 1e6, "km": 1e9, "Å": 1e-4, "in": 25400.0,
    "angstrom": 1e-4, "picometer": 1e-6, "nanometer": 1e-3, "micrometer": 1.0, "micron": 1.0, "microns": 1.0,
    "millimeter": 1e3, "centimeter": 1e4, "meter": 1e6, "kilometer": 1e9, "inch": 25400.0, "foot": 304800.0,
}  # fmt: skip
"""Microns per unit of length. The letter mu is spelled "u" here."""


def microns(length: float, unit: str) -> float | None:
    """Return a length in microns; None if the unit is unknown ("pixel", ...) or the length not positive and finite."""
    factor = MICRONS.get(unit.strip().replace("µ", "u").replace("μ", "u").replace("\\u00B5", "u"))
    if factor is None:
        factor = MICRONS.get(unit.strip().lower())
    if factor is None or not math.isfinite(length) or length <= 0:
        return None
    return length * factor
