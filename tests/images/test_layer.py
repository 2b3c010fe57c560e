"""Layers over features lie over the slide of the features, with its scale."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile

from fitcli.images.base import ImageInfo
from fitcli.images.feature_grid import FeatureGrid
from fitcli.images.layer import create_layer, layer_info
from fitcli.images.open import open_image
from fitcli.images.window import Window

VALUES = np.arange(1, 21, dtype=np.uint8).reshape(4, 5)[..., None]


def write(path: Path, grid: FeatureGrid | None, outside: int = 0) -> np.ndarray:
    info = ImageInfo(height=4, width=5, channels=1, dtype=np.dtype("u1"), features=grid)
    with create_layer(path, info, outside=outside, levels=1, description="a layer") as layer:
        layer.write(Window(0, 0, 2, 5), VALUES[:2])
        layer.write(Window(2, 0, 2, 5), VALUES[2:])
    with open_image(path) as image:
        return image.read(Window(0, 0, *image.info.size))


@pytest.mark.parametrize("suffix", [".tif", ".zarr", ".png"])
@pytest.mark.parametrize("outside", [0, 255])
def test_places_lie_where_their_patches_do(tmp_path: Path, suffix: str, outside: int) -> None:
    # Places of 512 pixels that begin half a place to the right, on a slide of 5 x 10 places.
    grid = FeatureGrid(side=512, left=256, top=512, slide=(2560, 5120), mpp=0.25)
    pixels = write(tmp_path / f"layer{suffix}", grid, outside)[..., 0]
    expected = np.full((10, 20), outside, np.uint8)
    expected[2:10, 1:11] = VALUES[..., 0].repeat(2, 0).repeat(2, 1)
    np.testing.assert_array_equal(pixels, expected)


def test_layers_of_images_are_as_they_were(tmp_path: Path) -> None:
    np.testing.assert_array_equal(write(tmp_path / "a.tif", None), VALUES)
    np.testing.assert_array_equal(write(tmp_path / "b.tif", FeatureGrid()), VALUES)


def test_the_scale_is_that_of_the_slide(tmp_path: Path) -> None:
    grid = FeatureGrid(side=512, left=256, mpp=0.25)
    for name in ("a.tif", "a.ome.tif", "a.zarr"):
        write(tmp_path / name, grid)
        with open_image(tmp_path / name) as image:
            assert image.info.mpp == pytest.approx(256 * 0.25)
    # Unknown microns: pixels of the slide.
    write(tmp_path / "b.zarr", FeatureGrid(side=512, left=256))
    described = json.loads((tmp_path / "b.zarr" / "zarr.json").read_text())["attributes"]["ome"]["multiscales"][0]
    assert described["datasets"][0]["coordinateTransformations"][0]["scale"] == [1.0, 256.0, 256.0]
    assert "unit" not in described["axes"][1]
    write(tmp_path / "b.tif", FeatureGrid(side=512))
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        assert file.pages[0].description == "a layer; one pixel covers 512 x 512 pixels of the slide"


def test_only_whole_rows_are_taken(tmp_path: Path) -> None:
    info = ImageInfo(height=4, width=5, channels=1, dtype=np.dtype("u1"), features=FeatureGrid(side=2))
    layer = create_layer(tmp_path / "a.tif", info)
    with pytest.raises(ValueError, match="whole rows"):
        layer.write(Window(0, 1, 4, 4), VALUES[:, 1:])
    layer.discard()
    assert not list(tmp_path.iterdir())


def test_the_file_is_described_before_it_is_written() -> None:
    grid = FeatureGrid(side=512, left=512, top=1024, slide=(9000, 9000))
    described = layer_info(ImageInfo(height=4, width=5, channels=3, dtype=np.dtype("u1"), features=grid))
    assert (described.height, described.width, described.mpp) == (18, 18, None)
    assert (described.levels[0].height, described.levels[0].width) == (18, 18)
