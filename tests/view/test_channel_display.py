"""Channels of any type become 8 bits: measured ranges, chosen ones, colours, and addresses that are checked."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from fitcli.images.array_image import ArrayReader
from fitcli.view.channel_display import ShownChannel, first_channels, measured_ranges, parse_channels, picture


def test_bytes_in_colour_are_shown_as_they_are() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3)).astype(np.uint8)
    channels = first_channels(ArrayReader(pixels))
    assert [(each.low, each.high) for each in channels] == [(0, 255)] * 3
    assert (picture(pixels, channels) == pixels).all()


def test_ranges_of_16_bits_are_measured_without_the_ends_and_missing_pixels() -> None:
    pixels = np.linspace(1000, 3000, 10000).reshape(100, 100, 1).astype(np.uint16)
    pixels[0, 0], pixels[0, 1] = 65535, 0
    image = ArrayReader(pixels, nodata=0)
    ((low, high),) = measured_ranges(image, 1)
    assert low == pytest.approx(1010, abs=2)
    assert high == pytest.approx(2990, abs=2)
    shown = picture(pixels, first_channels(image), 0)
    assert shown[0, 1].tolist() == [0, 0, 0]
    assert shown[99, 99].tolist() == [255] * 3
    assert abs(int(shown[50, 50, 0]) - 128) <= 2


@pytest.mark.parametrize("values", [np.full((8, 8, 1), np.nan), np.zeros((8, 8, 1)), np.full((8, 8, 1), -3.0)])
def test_a_range_is_never_empty(values: np.ndarray) -> None:
    ((low, high),) = measured_ranges(ArrayReader(values.astype(np.float32)), 1)
    assert low < high


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("low", "high"),
    [(12344, 12349), (1e9, 1e9 + 40), (-3e38, -3e38), (2**62, 2**62), (0, 1e-320), (-1.7e308, 1.7e308), (1e40, 3e40)],
)
def test_values_of_any_size_are_seen_in_a_range_of_theirs(low: float, high: float) -> None:
    values = np.linspace(low / 4, high / 4, 64).reshape(8, 8, 1) * 4
    image = ArrayReader(values)
    ((least, most),) = measured_ranges(image, 1)
    assert np.isfinite([least, most]).all()
    assert least < most
    assert high == low or most / 4 - least / 4 == pytest.approx(high / 4 - low / 4, rel=0.05)
    shades = picture(values, first_channels(image))[..., 0].ravel()
    assert high == low or (shades[0] <= 4 and shades[-1] >= 251)


def test_a_large_level_is_sampled_all_over() -> None:
    pixels = np.zeros((2000, 2400, 1), np.uint16)
    pixels[1000:] = 500
    ((_, high),) = measured_ranges(ArrayReader(pixels), 1)
    assert high == 500


def test_colours_of_more_than_8_bits_keep_their_hue() -> None:
    pixels = np.zeros((50, 50, 3), np.uint16)
    pixels[..., 0] = np.linspace(0, 4000, 2500).reshape(50, 50)
    pixels[..., 1] = pixels[..., 0] // 2
    channels = first_channels(ArrayReader(pixels, color=True))
    assert len({(each.low, each.high) for each in channels}) == 1


def test_channels_have_the_colours_of_the_file() -> None:
    image = ArrayReader(np.zeros((4, 4, 2), np.uint8), color=False)
    assert [each.color for each in first_channels(image, ["#00FFFF", "red; x"])] == [(0, 255, 255), (0, 255, 0)]
    shown = picture(np.full((1, 1, 2), 255, np.uint8), [ShownChannel(0, 0, 510, (0, 255, 255))])
    assert shown.tolist() == [[[0, 128, 128]]]


def test_an_address_gives_back_the_channels() -> None:
    channels = (ShownChannel(3, -1.5, 2e9, (1, 2, 255)), ShownChannel(0, 0, 1e-5, (0, 0, 0)))
    assert parse_channels(",".join(each.text() for each in channels), 4) == channels


@pytest.mark.parametrize(
    "text",
    ["", "0", "0:0:255", "4:0:255:ffffff", "0:255:0:ffffff", "0:nan:1:ffffff", "0:0:inf:ffffff", "0:0:1e999:ffffff",
     "-1:0:1:ffffff", "0:0:1:fffff", "0:--1:1:ffffff", "0:0:1:ffffff,", ",".join(["0:0:1:ffffff"] * 9)],
)  # fmt: skip
def test_other_addresses_are_refused(text: str) -> None:
    assert parse_channels(text, 4) is None


def test_files_with_hundreds_of_channels_are_listed_in_part() -> None:
    image = ArrayReader(np.zeros((2, 2, 700), np.float32))
    image.info = dataclasses.replace(image.info)
    assert len(first_channels(image)) == 256
