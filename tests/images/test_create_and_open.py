"""What `create_image` says it writes is what `open_image` says it reads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fitcli.images.base import ImageInfo
from fitcli.images.open import create_image, open_image
from fitcli.images.window import Window


@pytest.mark.parametrize("name", ["x.tif", "x.ome.tif", "x.zarr", "x.ome.zarr"])
@pytest.mark.parametrize(
    ("channels", "dtype", "extra"),
    [
        (1, "u2", {"mpp": 0.25}),
        (3, "u1", {"mpp": 0.5, "color": True}),
        (4, "u1", {"color": True}),
        (5, "i2", {"mpp": 2.0}),
        (1, "f4", {}),
        (2, "f8", {}),
    ],
)
def test_same_info_and_pixels(tmp_path: Path, name: str, channels: int, dtype: str, extra: dict[str, Any]) -> None:
    pixels = np.random.default_rng(0).integers(0, 200, (75, 110, channels)).astype(dtype)
    info = ImageInfo(height=75, width=110, channels=channels, dtype=pixels.dtype, **extra)
    options: dict[str, Any] = {} if name.endswith("zarr") else {"compression": "deflate"}
    with create_image(tmp_path / name, info, chunk=32, **options) as written:
        written.write(Window(0, 0, 75, 110), pixels)
    with open_image(tmp_path / name) as image:
        assert replace(image.info, mpp=None) == replace(written.info, mpp=None)
        assert image.info.mpp == pytest.approx(written.info.mpp)
        np.testing.assert_array_equal(image.read(Window(0, 0, 75, 110)), pixels)


def test_nodata(tmp_path: Path) -> None:
    info = ImageInfo(height=20, width=20, channels=1, dtype=np.dtype("f4"), nodata=-9999)
    with create_image(tmp_path / "x.tif", info):
        pass
    with open_image(tmp_path / "x.tif") as image:
        assert image.info.nodata == -9999


@pytest.mark.parametrize("name", ["x.tif", "x.ome.tif", "x.zarr"])
def test_small_images_have_small_chunks(tmp_path: Path, name: str) -> None:
    info = ImageInfo(height=20, width=50, channels=3, dtype=np.dtype("u1"), color=True)
    with create_image(tmp_path / name, info, compression="none"):
        pass
    with open_image(tmp_path / name) as image:
        assert image.info.chunk == (64, 64)


@pytest.mark.parametrize("name", ["x.png", "x.jpg"])
def test_raster(tmp_path: Path, name: str) -> None:
    pixels = np.full((20, 30, 3), (200, 100, 50), np.uint8)
    with create_image(tmp_path / name, ImageInfo(height=20, width=30, channels=3, dtype=pixels.dtype)) as written:
        written.write(Window(0, 0, 20, 30), pixels)
    with open_image(tmp_path / name) as image:
        assert (image.info.format, image.info.size, image.info.color) == (written.info.format, (20, 30), True)
        assert np.abs(image.read(Window(0, 0, 20, 30)).astype(int) - pixels).max() <= 3
