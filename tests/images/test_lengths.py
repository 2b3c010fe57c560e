"""Lengths in microns."""

from __future__ import annotations

import math

import pytest

from fitcli.images.lengths import microns


@pytest.mark.parametrize(
    ("length", "unit", "expected"),
    [
        (0.25, "µm", 0.25),
        (0.25, "μm", 0.25),
        (0.25, "um", 0.25),
        (0.25, "\\u00B5m", 0.25),
        (250, "nm", 0.25),
        (2500, "Å", 0.25),
        (0.00025, "mm", 0.25),
        (1, "cm", 10_000),
        (2, "inch", 50_800),
        (3, " Micrometer ", 3),
        (1, "MICRONS", 1),
        (1, "foot", 304_800),
        (1, "Mm", 1000),
    ],
)
def test_units(length: float, unit: str, expected: float) -> None:
    assert microns(length, unit) == pytest.approx(expected)


@pytest.mark.parametrize("unit", ["pixel", "reference frame", "", "parsec"])
def test_unknown_units(unit: str) -> None:
    assert microns(1.0, unit) is None


@pytest.mark.parametrize("length", [0.0, -1.0, math.nan, math.inf])
def test_invalid_lengths(length: float) -> None:
    assert microns(length, "um") is None
