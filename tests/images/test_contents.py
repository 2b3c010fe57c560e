"""Readers say what their files hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from support.pictures import save

from fitcli.images.contents import Contents
from fitcli.images.open import open_image


def test_pictures_hold_one_plane(tmp_path: Path) -> None:
    with open_image(save(tmp_path / "x.png", np.zeros((8, 8, 1), np.uint8))) as reader:
        assert reader.describe_contents() == Contents()


def test_a_tiff_describes_its_images(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "x.tif") as file:
        file.write(np.zeros((3, 40, 50), np.uint16), photometric="minisblack", metadata={"axes": "ZYX"})
        file.write(np.zeros((20, 30, 3), np.uint8), photometric="rgb")
    with open_image(tmp_path / "x.tif", lenient=True) as reader:
        contents = reader.describe_contents()
    assert contents.read == 0
    first, second = contents.series
    assert (first.width, first.height, first.focal_planes, first.channels, first.axes) == (50, 40, 3, 1, "ZYX")
    assert (second.width, second.height, second.focal_planes, second.channels) == (30, 20, 1, 3)


@pytest.mark.parametrize("suffix", [".tif", ".ome.tif", ".zarr"])
@pytest.mark.parametrize("text", [None, "Evidence: times the even share", 'classes: 0=a, 1="b" <c>'])
def test_the_description_of_an_image_is_read_back(tmp_path: Path, suffix: str, text: str | None) -> None:
    path = save(tmp_path / f"x{suffix}", np.zeros((40, 50, 1), np.uint8), description=text)
    with open_image(path) as reader:
        found = reader.describe_contents().description
    assert found == (text or "")
