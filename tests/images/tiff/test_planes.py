"""Descriptions of honest files are read; counts that multiply are refused before tifffile makes lists of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from bombs import BOMBS
from support.reader_contract import assert_equal, read_all

from fitcli.errors import ImageError
from fitcli.images.open import open_image

FORGED = [name for name in BOMBS if name.startswith(("tiff-ome-", "tiff-scn", "tiff-shaped", "tiff-imagej"))]


@pytest.mark.parametrize("name", FORGED)
def test_counts_that_multiply(tmp_path: Path, name: str) -> None:
    BOMBS[name](tmp_path / "image")
    with pytest.raises(ImageError, match=r"describes|claims|holds 10000000 (focal planes|time points)|ends \d+ bytes"):
        open_image(tmp_path / "image")


@pytest.mark.parametrize("single", [True, False], ids=["one entry per plane", "one entry"])
def test_a_thousand_channels_of_ome(tmp_path: Path, single: bool) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (1000, 8, 8), np.uint8)
    tifffile.imwrite(tmp_path / "image", pixels, ome=True, photometric="minisblack", metadata={"axes": "CYX"})
    if single:
        entries = "".join(f'<TiffData IFD="{n}" FirstC="{n}"/>' for n in range(1000))
        with tifffile.TiffFile(tmp_path / "image", mode="r+b") as file:
            text = file.pages.first.description
            start, end = text.index("<TiffData"), text.index("/>", text.index("<TiffData")) + 2
            file.pages.first.tags[270].overwrite(text[:start] + entries + text[end:])
    with open_image(tmp_path / "image") as reader:
        assert_equal(read_all(reader), pixels.transpose(1, 2, 0))


def test_time_points_are_named(tmp_path: Path) -> None:
    pixels = np.zeros((300, 8, 8), np.uint8)
    tifffile.imwrite(tmp_path / "image", pixels, ome=True, photometric="minisblack", metadata={"axes": "TYX"})
    with pytest.raises(ImageError, match="holds 300 time points"):
        open_image(tmp_path / "image")


def test_a_thumbnail_beside_a_large_picture(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "image", ome=True) as file:
        file.write(np.zeros((3000, 3000), np.uint8), tile=(512, 512), compression="deflate")
        file.write(np.zeros((16, 16), np.uint8))
    with open_image(tmp_path / "image") as reader:
        assert reader.info.size == (3000, 3000)


def test_channels_of_imagej(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (60, 8, 8), np.uint16)
    tifffile.imwrite(tmp_path / "image", pixels, imagej=True, metadata={"axes": "CYX"})
    with open_image(tmp_path / "image") as reader:
        assert_equal(read_all(reader), pixels.transpose(1, 2, 0))
