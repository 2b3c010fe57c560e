"""An intact file that a library does not read is not called damaged."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image

from fitcli.errors import ImageError
from fitcli.images.open import open_image
from fitcli.images.unsupported import CONVERT, advice_for, is_unsupported
from fitcli.images.window import Window


@pytest.mark.parametrize(
    ("error", "unsupported"),
    [
        (NotImplementedError(), True),
        (ImportError("no codec"), True),
        (OSError("Unsupported BMP bitfields layout"), True),
        (ValueError("unpredicting float24 not supported"), True),
        (ValueError("codec not available: 'zfpy'"), True),
        (RuntimeError("subsampling not supported"), True),
        (ValueError("unknown raw mode for given image mode"), True),
        (ValueError("its bands differ in size, which fit does not read"), True),
        (ValueError("corrupted IFD structure"), False),
        (OSError("image file is truncated"), False),
        (IndexError(), False),
    ],
    ids=repr,
)
def test_libraries_say_what_they_do_not_read(error: Exception, unsupported: bool) -> None:
    assert is_unsupported(error) == unsupported
    assert advice_for(error, "it is damaged") == (CONVERT if unsupported else "it is damaged")


def bitmap(path: Path) -> None:
    """A bitmap of 16 bits whose masks are 4, 4 and 4 bits, which Pillow does not read."""
    Image.new("RGB", (8, 8)).save(path, "BMP")
    data = bytearray(path.read_bytes())
    data[28:30], data[30:34] = (16).to_bytes(2, "little"), (3).to_bytes(4, "little")
    masks = b"".join(mask.to_bytes(4, "little") for mask in (0xF00, 0xF0, 0xF))
    data[10:14] = (54 + len(masks)).to_bytes(4, "little")
    path.write_bytes(bytes(data[:54]) + masks + bytes(data[54:]))


def float24(path: Path) -> None:
    """A TIFF of floats of 24 bits with the predictor of floats."""
    tifffile.imwrite(path, np.zeros((16, 16), np.float32), compression="deflate", predictor=3, photometric="minisblack")
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages[0].tags["BitsPerSample"].overwrite(24)


@pytest.mark.parametrize(("name", "make"), [("a.bmp", bitmap), ("a.tif", float24)])
def test_such_a_file_may_be_intact(tmp_path: Path, name: str, make: Callable[[Path], None]) -> None:
    make(tmp_path / name)
    with pytest.raises(ImageError) as caught, open_image(tmp_path / name) as image:
        image.read(Window(0, 0, 4, 4))
    assert "may be intact, convert it with other software" in str(caught.value)
    assert "damaged" not in str(caught.value)


def pcodec(path: Path) -> None:
    """A zarr array whose codec is not installed."""
    zarr.create_array(path, shape=(8, 8), dtype="u1", zarr_format=2, chunks=(8, 8))
    document = json.loads((path / ".zarray").read_text()) | {"compressor": {"id": "zfpy"}}
    (path / ".zarray").write_text(json.dumps(document))


def row(path: Path) -> None:
    zarr.create_array(path, shape=(8,), dtype="u1")


@pytest.mark.parametrize(
    ("make", "message"), [(pcodec, "may be intact, convert it with other software"), (row, "which is no image; give")]
)
def test_an_intact_array_need_not_be_copied(tmp_path: Path, make: Callable[[Path], None], message: str) -> None:
    make(tmp_path / "a.zarr")
    with pytest.raises(ImageError) as caught:
        open_image(tmp_path / "a.zarr")
    assert message in str(caught.value)
    assert "again" not in str(caught.value)
