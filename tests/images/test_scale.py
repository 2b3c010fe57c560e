"""Scales of images, in microns per pixel."""

from __future__ import annotations

import pytest

from fitcli.images.scale import common_scale, same_scale, scale_text, warn_of_mixed_scales


@pytest.mark.parametrize(
    ("scales", "common", "text"),
    [
        ((0.5, 0.5), 0.5, "scale: 0.5 microns per pixel"),
        ((0.25, 0.2523, 0.2531), 0.2523, "scale: 0.2523 microns per pixel"),
        ((0.5, None, None), 0.5, "scale: 0.5 microns per pixel (2 of 3 images do not say)"),
        ((None, None), None, "scale: unknown"),
        ((0.25, 0.5, 0.5), None, "scale: 0.25 (1 image), 0.5 (2 images) microns per pixel"),
        ((1.0, 2.0, 4.0, 8.0, 16.0, None), None, "scale: 1 to 16 microns per pixel (1 of 6 images does not say)"),
    ],
)
def test_the_scale_of_a_data_set(scales: tuple[float | None, ...], common: float | None, text: str) -> None:
    assert common_scale(scales) == common
    assert scale_text(scales) == text
    assert bool(warn_of_mixed_scales(scales)) == (common is None and text != "scale: unknown")


def test_mixed_scales_are_named_with_what_to_do() -> None:
    text = warn_of_mixed_scales([0.25] * 30 + [0.5] * 12 + [0.51] * 18)
    assert "0.25 (30 images), 0.51 (30 images) microns per pixel" in text
    assert "--mpp 0.51" in text


def test_a_tenth_is_no_difference() -> None:
    assert same_scale(0.5, 0.54)
    assert same_scale(0.54, 0.5)
    assert not same_scale(0.5, 0.56)
    assert not same_scale(0.56, 0.5)
