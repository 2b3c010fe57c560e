"""Forms of TIFF that are not read: named when the file is opened, and not called damaged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from fitcli.errors import ImageError
from fitcli.images.open import open_image
from fitcli.images.plane_choice import PlaneChoice
from fitcli.images.tiff.compressions import CODECS


def with_tags(path: Path, first: bytes = b"\x12\x34", **changes: int) -> Path:
    """Write a picture whose first chunk begins with two bytes, and change values of its tags."""
    pixels = np.frombuffer(first + bytes(16 * 16 * 3 - 2), np.uint8).reshape(16, 16, 3)
    tags: list[Any] = [(530, 3, 2, (2, 2), True)] if "photometric" in changes else []
    tifffile.imwrite(path, pixels, photometric="rgb", metadata=None, extratags=tags)
    codes = {"compression": 259, "photometric": 262}
    with tifffile.TiffFile(path, mode="r+") as file:
        for name, value in changes.items():
            file.pages[0].tags[codes[name]].overwrite(value)  # type: ignore[union-attr]
    return path


@pytest.mark.parametrize(
    ("changes", "first", "form"),
    [
        ({"compression": 6}, b"\x12\x34", "old-style JPEG"),
        ({"compression": 5}, b"\0\1", "old-style LZW"),
        ({"photometric": 6}, b"\x12\x34", "YCbCr colours of a lower resolution"),
        ({"compression": 34676}, b"\x12\x34", "SGILOG"),
        ({"compression": 32809}, b"\x12\x34", "THUNDERSCAN"),
        ({"compression": 12345}, b"\x12\x34", "12345"),
    ],
    ids=str,
)
def test_a_form_is_named_with_what_converts_it(
    tmp_path: Path, changes: dict[str, int], first: bytes, form: str
) -> None:
    path = with_tags(tmp_path / "scan.tif", first, **changes)
    with pytest.raises(ImageError) as caught:
        open_image(path)
    message = str(caught.value)
    assert form in message
    assert "which fit does not read; convert it with `gdal_translate scan.tif scan-new.tif`" in message
    assert "damaged" not in message


@pytest.mark.parametrize("compression", ["jpeg", "lzw", "deflate", None])
def test_forms_that_are_read_pass(tmp_path: Path, compression: str | None) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype("u1")
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", compression=compression)
    with open_image(tmp_path / "a.tif") as image:
        assert image.info.size == (64, 64)
    assert 12345 not in CODECS


def pages_of_old_jpeg(path: Path) -> None:
    tifffile.imwrite(path, np.full((3, 32, 32), 7, "u1"), photometric="minisblack", compression="deflate")
    with tifffile.TiffFile(path, mode="r+") as file:
        for page in file.pages:
            page.tags["Compression"].overwrite(6)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: tifffile.imwrite(path, np.zeros((5, 32, 32), "u1"), volumetric=True, tile=(5, 16, 16)), "(ZYX)"),
        (lambda path: tifffile.imwrite(path, np.zeros((3, 32, 32), "c8"), photometric="minisblack"), "complex64"),
        (pages_of_old_jpeg, "old-style JPEG"),
    ],
    ids=["volumes", "complex values", "old-style JPEG"],
)
@pytest.mark.parametrize("choice", [PlaneChoice(), PlaneChoice(z="0"), PlaneChoice(z="max")], ids=str)
def test_no_choice_of_planes_is_advised_for_what_is_not_read(
    tmp_path: Path, make: Callable[[Path], None], message: str, choice: PlaneChoice
) -> None:
    path = tmp_path / "a.tif"
    make(path)
    with pytest.raises(ImageError) as caught:
        open_image(path, choice=choice)
    assert message in str(caught.value)
    assert "--z" not in str(caught.value)
