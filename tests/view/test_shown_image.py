"""An image says its channels, scale and place; its tiles are JPEGs of what the reader returns."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from support.pictures import save

from fitcli.images.array_image import ArrayReader
from fitcli.images.georeference import GeoReference
from fitcli.images.open import open_image
from fitcli.images.read_as import ReadAs, open_as
from fitcli.images.window import Window
from fitcli.view.channel_display import ShownChannel
from fitcli.view.shown_image import show_image

UTM = GeoReference(scale=(10, 10, 0), tiepoints=(0, 0, 0, 4e5, 5.7e6, 0), keys=(1, 1, 0, 1, 3072, 0, 1, 32633))
DEGREES = GeoReference(scale=(1e-4, 1e-4, 0), tiepoints=(0, 0, 0, 13.4, 52.5, 0), keys=(1, 1, 0, 1, 2048, 0, 1, 4326))


def test_a_colour_image(tmp_path: Path) -> None:
    pixels = np.full((300, 500, 3), (200, 40, 90), np.uint8)
    with open_image(save(tmp_path / "x.tif", pixels, mpp=0.5)) as image:
        shown = show_image("x.tif", image)
        document = shown.document()
        assert (document["width"], document["height"], document["top"]) == (500, 300, 9)
        assert (document["pixel"], document["unit"]) == (pytest.approx(0.5e-6), "m")
        assert [each["shown"] for each in document["channels"]] == [True] * 3
        tile = np.asarray(Image.open(io.BytesIO(shown.tile(9, 1, 1)))).astype(int)
        assert tile.shape == (44, 244, 3)
        assert np.abs(tile - pixels[0, 0]).max() <= 4
        red = np.asarray(Image.open(io.BytesIO(shown.tile(9, 0, 0, [ShownChannel(0, 0, 255, (255, 0, 0))])))).astype(
            int
        )
        assert np.abs(red - (200, 0, 0)).max() <= 4
        assert shown.value_text(3.5, 2.5) == ", ".join(map(str, image.read(Window(2, 3, 1, 1))[0, 0]))
        assert shown.value_text(-1, 0) == shown.value_text(0, 300) == ""


def test_channels_of_16_bits_have_their_names_and_values(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(100, 4000, (4, 64, 80)).astype(np.uint16)
    path = tmp_path / "x.ome.tif"
    names = {"axes": "CYX", "Channel": {"Name": ["DAPI", "CD3", "CD8", "PanCK"]}}
    tifffile.imwrite(path, pixels, photometric="minisblack", metadata=names)
    with open_as(path) as image:
        shown = show_image("x", image)
        channels = shown.document()["channels"]
        assert [each["name"] for each in channels] == ["DAPI", "CD3", "CD8", "PanCK"]
        assert [each["shown"] for each in channels] == [True, True, True, False]
        assert 90 < channels[0]["low"] < 200
        assert shown.value_text(5, 7).startswith(f"DAPI {pixels[0, 7, 5]}, CD3 {pixels[1, 7, 5]}")
    with open_as(path, ReadAs(channels="PanCK,DAPI")) as image:
        shown = show_image("x", image)
        assert shown.channel_names == ("PanCK", "DAPI")
        assert shown.value_text(5, 7) == f"PanCK {pixels[3, 7, 5]}, DAPI {pixels[0, 7, 5]}"


@pytest.mark.parametrize(
    ("geo", "pixel", "unit", "system"), [(UTM, 10, "m", "EPSG:32633"), (DEGREES, 1e-4, "degree", "EPSG:4326")]
)
def test_the_place_on_the_earth(geo: GeoReference, pixel: float, unit: str, system: str) -> None:
    image = ArrayReader(np.zeros((10, 10, 3), np.uint8))
    image.info = dataclasses.replace(image.info, geo=geo)
    document = show_image("x", image).document()
    assert (document["unit"], document["system"]) == (unit, system)
    assert document["pixel"] == pytest.approx(pixel)
    assert document["world"][2] == geo.tiepoints[3]
