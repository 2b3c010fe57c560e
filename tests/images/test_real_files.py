"""GeoTIFFs of other software. Set FIT_DATA to a folder that holds them in `tiff/`."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from support.reader_contract import assert_equal, cut, random_windows

from fitcli.errors import ImageError
from fitcli.images.base import Pixels
from fitcli.images.open import open_image

FOLDER = Path(os.environ.get("FIT_DATA", "")) / "tiff"
FILES = sorted(FOLDER.glob("*.tif")) if "FIT_DATA" in os.environ else []
CORRUPT = [path for path in FILES if path.name == "corrupt.tif"]
GOOD = [path for path in FILES if path not in CORRUPT]

pytestmark = pytest.mark.skipif(not FILES, reason="FIT_DATA names no folder with real files in tiff/")


def whole(path: Path) -> Pixels:
    """Read [height, width, channels] with tifffile."""
    with tifffile.TiffFile(path) as file:
        series = file.series[0]
        pixels = series.asarray()
    if series.axes == "SYX":
        return pixels.transpose(1, 2, 0)
    return pixels if series.axes == "YXS" else pixels[:, :, None]


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.name)
def test_random_windows_equal_the_whole_image(path: Path):
    expected = whole(path)
    with open_image(path) as reader:
        for window in random_windows(*expected.shape[:2], count=200):
            assert_equal(reader.read(window), cut(expected, window))


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.name)
def test_pillow_sees_the_same(path: Path):
    try:
        with Image.open(path) as image:
            expected = np.asarray(image)
    except OSError as error:
        pytest.skip(f"Pillow cannot read it: {error}")
    if expected.ndim == 2:
        expected = expected[:, :, None]
    with open_image(path) as reader:
        if reader.info.dtype.itemsize > 1:
            pytest.skip("Pillow reduces colours to 8 bits")
        for window in random_windows(*expected.shape[:2], count=20):
            assert_equal(reader.read(window), cut(expected, window))


@pytest.mark.parametrize("path", CORRUPT, ids=lambda path: path.name)
def test_corrupt_file_is_an_error(path: Path):
    with pytest.raises(ImageError, match="before its pixels do"):
        open_image(path)
