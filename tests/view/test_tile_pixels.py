"""The pixels of a tile are those that the reader returns: as they are, or their means, in bounded memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.pictures import endless_image, save

from fitcli.errors import ImageError
from fitcli.images.array_image import ArrayReader
from fitcli.images.base import ImageReader
from fitcli.images.open import open_image
from fitcli.images.window import Window
from fitcli.view import tile_pixels
from fitcli.view.tile_grid import TILE, TileGrid
from fitcli.view.tile_pixels import read_tile


def noise(height: int, width: int, channels: int = 3, dtype: type = np.uint8) -> np.ndarray:
    values = np.random.default_rng(0).integers(0, 200, (height, width, channels))
    return values.astype(dtype)


def joined(image: ImageReader, level: int, nearest: bool = False) -> np.ndarray:
    """All tiles of a level beside each other."""
    grid = TileGrid(*image.info.size)
    rows = range(int(-(-grid.height // (TILE * grid.step(level)))))
    columns = range(int(-(-grid.width // (TILE * grid.step(level)))))
    return np.concatenate(
        [np.concatenate([read_tile(image, level, c, r, nearest) for c in columns], axis=1) for r in rows]
    )


@pytest.mark.parametrize("suffix", [".tif", ".zarr", ".png"])
def test_tiles_of_the_top_level_are_the_pixels_of_the_reader(tmp_path: Path, suffix: str) -> None:
    pixels = noise(300, 530)
    with open_image(
        save(tmp_path / f"x{suffix}", pixels, **({"compression": "deflate"} if suffix == ".tif" else {}))
    ) as image:
        found = joined(image, TileGrid(*image.info.size).top)
        assert (found == image.read(Window(0, 0, 300, 530))).all()
        assert (found == pixels).all()


@pytest.mark.parametrize("size", [(512, 1024), (517, 1021)])
def test_tiles_of_stored_levels_are_those_levels(tmp_path: Path, size: tuple[int, int]) -> None:
    with open_image(save(tmp_path / "x.tif", noise(*size), chunk=128, compression="zstd")) as image:
        assert len(image.info.levels) > 2
        for number, stored in enumerate(image.info.levels):
            found = joined(image, TileGrid(*size).top - number)
            expected = image.read(Window(0, 0, stored.height, stored.width), number)
            assert (found[: stored.height, : stored.width] == expected).all()


def test_without_levels_a_tile_has_the_means() -> None:
    pixels = noise(600, 1000)
    image = ArrayReader(pixels)
    found = joined(image, TileGrid(600, 1000).top - 2)
    means = pixels.reshape(150, 4, 250, 4, 3).mean(axis=(1, 3))
    assert np.abs(found - means).max() <= 0.51


def test_strips_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    image = ArrayReader(noise(600, 1000))
    whole = joined(image, 8)
    monkeypatch.setattr(tile_pixels, "STRIP_VALUES", 5000)
    assert (joined(image, 8) == whole).all()


def test_classes_are_not_mixed() -> None:
    pixels = np.where(np.arange(1000)[:, None, None] < 501, 1, 9).astype(np.uint8).repeat(600, 1)
    image = ArrayReader(pixels)
    found = joined(image, TileGrid(1000, 600).top - 3, nearest=True)
    assert set(np.unique(found)) == {1, 9}
    # Centre of the pixel of the tile: rows 500 and 508 of the image.
    assert (found[:62] == 1).all()
    assert (found[63:] == 9).all()


def test_missing_pixels_are_left_out_of_means() -> None:
    pixels = np.full((512, 512, 1), 6, np.float32)
    pixels[::2] = np.nan
    pixels[:64, :64] = np.nan
    found = read_tile(ArrayReader(pixels), 8, 0, 0)
    assert np.isnan(found[:32, :32]).all()
    assert (found[32:] == 6).all()


def test_a_file_without_small_levels_says_that_a_part_is_too_large(tmp_path: Path) -> None:
    with open_image(endless_image(tmp_path / "x.zarr", 2**30)) as image:
        assert (read_tile(image, 30, 5, 5) == 9).all()
        with pytest.raises(ImageError, match="zoom in"):
            read_tile(image, 20, 0, 0)
