"""Masks inside a TIFF: what they hide has the nodata value, at every level; files are written by tifffile and GDAL."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from fitcli.images.open import open_image
from fitcli.images.plane_choice import PlaneChoice
from fitcli.images.window import Window

SHAPE = (150, 130)


def pictures(dtype: str, channels: int) -> tuple[Any, Any]:
    random = np.random.default_rng(0)
    pixels = random.integers(1, 100, (*SHAPE, channels)).astype(dtype)
    mask = np.zeros(SHAPE, bool)
    mask[20:100, 30:110] = True
    return pixels, mask


def write(path: Path, pixels: Any, mask: Any, *, smaller: bool = True, **tags: Any) -> None:
    photometric = "rgb" if pixels.shape[2] == 3 else "minisblack"
    with tifffile.TiffWriter(path) as file:
        for step in (1, 2):
            part = np.ascontiguousarray(pixels[::step, ::step].squeeze())
            kind = 0 if step == 1 else 1
            file.write(part, photometric=photometric, subfiletype=kind, tile=(64, 64), metadata=None, **tags)
            if step == 1 or smaller:
                hides = np.ascontiguousarray(mask[::step, ::step])
                file.write(hides, photometric="mask", subfiletype=kind | 4, tile=(64, 64), metadata=None)


@pytest.mark.parametrize(
    ("dtype", "channels", "indices", "nodata"),
    [
        ("u1", 3, False, 0),
        ("u2", 1, False, 0),
        ("u1", 1, True, 255),
        ("i2", 1, False, -32768),
        ("f4", 1, False, np.nan),
    ],
)
def test_hidden_pixels_are_missing(tmp_path: Path, dtype: str, channels: int, indices: bool, nodata: float) -> None:
    pixels, mask = pictures(dtype, channels)
    write(tmp_path / "a.tif", pixels, mask)
    with open_image(tmp_path / "a.tif", indices=indices) as image:
        assert image.info.nodata == nodata or np.isnan(nodata)
        assert len(image.info.levels) == 2
        for level, step in enumerate((1, 2)):
            expected = np.where(mask[::step, ::step, None], pixels[::step, ::step], np.array(nodata).astype(dtype))
            np.testing.assert_array_equal(image.read(Window(0, 0, *expected.shape[:2]), level), expected)
            part = image.read(Window(15, 25, 40, 30), level)
            np.testing.assert_array_equal(part, expected[15:55, 25:55])
        copy = pickle.loads(pickle.dumps(image))
        np.testing.assert_array_equal(copy.read(Window(0, 0, 30, 40)), image.read(Window(0, 0, 30, 40)))


def test_the_nodata_value_of_the_file_comes_first(tmp_path: Path) -> None:
    pixels, mask = pictures("u2", 1)
    write(tmp_path / "a.tif", pixels, mask, extratags=[(42113, 2, 0, "777", True)])
    with open_image(tmp_path / "a.tif") as image:
        assert image.info.nodata == 777
        assert image.read(Window(0, 0, 1, 1)).item() == 777


def test_a_level_without_a_mask_is_left_out(tmp_path: Path) -> None:
    pixels, mask = pictures("u1", 3)
    write(tmp_path / "a.tif", pixels, mask, smaller=False)
    with open_image(tmp_path / "a.tif") as image:
        assert len(image.info.levels) == 1
        assert image.read(Window(0, 0, *SHAPE))[~mask].max() == 0


def test_an_image_without_a_mask_keeps_its_levels(tmp_path: Path) -> None:
    pixels, _ = pictures("u1", 3)
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(pixels, photometric="rgb", metadata=None)
        file.write(pixels[::2, ::2], photometric="rgb", subfiletype=1, metadata=None)
    with open_image(tmp_path / "a.tif") as image:
        assert image.info.nodata is None
        assert len(image.info.levels) == 2


@pytest.mark.parametrize("z", ["0", "1", "max"])
def test_a_mask_beside_focal_planes_hides_nothing(tmp_path: Path, z: str) -> None:
    pixels, mask = pictures("u2", 1)
    stack = np.stack([pixels[..., 0], pixels[::-1, :, 0]])
    with tifffile.TiffWriter(tmp_path / "a.tif", imagej=False) as file:
        file.write(stack, photometric="minisblack", metadata={"axes": "ZYX"})
        file.write(mask, photometric="mask", subfiletype=4, metadata=None)
    with open_image(tmp_path / "a.tif", choice=PlaneChoice(z=z)) as image:
        assert image.info.nodata is None
        expected = stack.max(0) if z == "max" else stack[int(z)]
        np.testing.assert_array_equal(image.read(Window(0, 0, *SHAPE))[..., 0], expected)


def test_a_mask_hides_chosen_channels(tmp_path: Path) -> None:
    pixels, mask = pictures("u1", 3)
    write(tmp_path / "a.tif", pixels, mask)
    with open_image(tmp_path / "a.tif", choice=PlaneChoice(channels="2,0")) as image:
        assert image.info.nodata == 0
        for level, step in enumerate((1, 2)):
            expected = np.where(mask[::step, ::step, None], pixels[::step, ::step][..., [2, 0]], 0)
            np.testing.assert_array_equal(image.read(Window(0, 0, *expected.shape[:2]), level), expected)


def test_a_mask_of_gdal(tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    pixels, mask = pictures("u1", 3)
    profile = {"driver": "GTiff", "height": SHAPE[0], "width": SHAPE[1], "count": 3, "dtype": "uint8"}
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        with rasterio.open(tmp_path / "a.tif", "w", compress="deflate", **profile) as file:
            file.write(pixels.transpose(2, 0, 1))
            file.write_mask(mask)
        with rasterio.open(tmp_path / "a.tif", "r+") as file:
            file.build_overviews([2])
    with open_image(tmp_path / "a.tif") as image, rasterio.open(tmp_path / "a.tif") as file:
        seen = image.read(Window(0, 0, *SHAPE))
        np.testing.assert_array_equal(seen, np.where(file.dataset_mask()[:, :, None] > 0, pixels, 0))
        assert len(image.info.levels) == 2
        assert (image.read(Window(0, 0, 10, 10), 1) == 0).all()
