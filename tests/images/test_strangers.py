"""Small files of kinds that were read wrongly, with their right values. FIT_DATA is the folder that holds `files/`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile

from fitcli.errors import ImageError
from fitcli.images.colors import ycbcr_to_rgb
from fitcli.images.open import open_image
from fitcli.images.window import Window

FOLDER = Path(os.environ.get("FIT_DATA", "")) / "files"
given = pytest.mark.skipif(
    "FIT_DATA" not in os.environ or not FOLDER.is_dir(), reason="FIT_DATA names no folder with files of strangers"
)


def whole(path: Path) -> Any:
    with open_image(path) as image:
        return image.read(Window(0, 0, *image.info.size))


@given
def test_a_mirax_slide() -> None:
    with pytest.raises(ImageError, match=r"is a MIRAX slide.*convert it with `vips"):
        open_image(FOLDER / "slide.mrxs")


@given
def test_padded_keys_of_arcgis() -> None:
    with open_image(FOLDER / "arcgis_padded_geokeys.tif") as image:
        assert image.info.geo is not None
        assert image.info.geo.affine() == (10.0, 0.0, 500_000.0, 0.0, -10.0, 5_200_000.0)
        assert image.info.geo.coordinate_system() == 32633


@given
def test_jpeg_in_separate_planes() -> None:
    rasterio = pytest.importorskip("rasterio")
    with rasterio.open(FOLDER / "g_JPEG_rgb_BAND.tif") as file:
        np.testing.assert_array_equal(whole(FOLDER / "g_JPEG_rgb_BAND.tif"), file.read().transpose(1, 2, 0))


@given
def test_aperio_in_ycbcr() -> None:
    path = FOLDER / "ycc33003.svs"
    with tifffile.TiffFile(path) as file, path.open("rb") as data:
        page: Any = file.pages[0]
        data.seek(page.dataoffsets[0])
        stored = imagecodecs.jpeg2k_decode(data.read(page.databytecounts[0]))
    np.testing.assert_array_equal(whole(path)[:256, :256], ycbcr_to_rgb(stored))


def test_jpeg_in_separate_planes_made_here(tmp_path: Path) -> None:
    pixels = (np.add.outer(np.arange(80), np.arange(96))[:, :, None] * [1, 2, 1] % 256).astype("u1")
    tiles = [
        imagecodecs.jpeg8_encode(np.ascontiguousarray(pixels[top : top + 32, left : left + 32, plane]), level=95)
        for plane in range(3)
        for top in (0, 32, 64)
        for left in (0, 32, 64)
    ]
    options: dict[str, Any] = {"photometric": "rgb", "planarconfig": "separate", "tile": (32, 32), "compression": 7}
    tifffile.imwrite(tmp_path / "a.tif", iter(tiles), shape=(3, 80, 96), dtype="u1", metadata=None, **options)
    expected = np.stack(
        [
            np.block([[imagecodecs.jpeg8_decode(tiles[9 * plane + 3 * row + column]) for column in range(3)]
                      for row in range(2)])
            for plane in range(3)
        ],
        axis=2,
    )  # fmt: skip
    np.testing.assert_array_equal(whole(tmp_path / "a.tif")[:64], expected)


@pytest.mark.parametrize("form", ["full", "one transform"])
def test_aperio_made_here(tmp_path: Path, form: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype("u1")
    data = imagecodecs.jpeg2k_encode(pixels, codecformat="j2k", reversible=True, level=0, mct=False)
    code = 33003 if form == "full" else 33005
    options: dict[str, Any] = {
        "photometric": "rgb",
        "tile": (64, 64),
        "compression": code,
    }
    tifffile.imwrite(tmp_path / "a.svs", iter([data]), shape=pixels.shape, dtype="u1", metadata=None, **options)
    # 33003 is YCbCr whatever the photometric tag says, 33005 is RGB.
    expected = ycbcr_to_rgb(pixels) if form == "full" else pixels
    np.testing.assert_array_equal(whole(tmp_path / "a.svs"), expected)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_missing_photometric_tag(tmp_path: Path, channels: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, channels)).astype("u1")
    kind = "rgb" if channels == 3 else "minisblack"
    tifffile.imwrite(tmp_path / "a.tif", pixels.squeeze(), photometric=kind, metadata=None)
    data = bytearray((tmp_path / "a.tif").read_bytes())
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        tag: Any = file.pages[0].tags[262]  # type: ignore[union-attr]
        data[tag.offset : tag.offset + 2] = (263).to_bytes(2, "little")  # Thresholding, which means nothing here
    (tmp_path / "a.tif").write_bytes(data)
    np.testing.assert_array_equal(whole(tmp_path / "a.tif"), pixels)
