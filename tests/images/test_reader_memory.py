"""Reading takes no more memory than is estimated."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image

from fitcli.images.array_image import ArrayReader
from fitcli.images.open import open_image
from fitcli.images.reader_memory import reader_bytes
from fitcli.images.window import Window

SIDE = 1536

WRITERS: dict[str, Any] = {
    "tiles": lambda path, pixels: tifffile.imwrite(
        path, pixels, tile=(256, 256), compression="deflate", photometric="rgb"
    ),
    "strips": lambda path, pixels: tifffile.imwrite(
        path, pixels, rowsperstrip=64, compression="deflate", photometric="rgb"
    ),
    "zarr": lambda path, pixels: zarr.create_array(str(path), data=pixels, chunks=(192, 192, 3)),
    "png": lambda path, pixels: Image.fromarray(pixels).save(path, "PNG"),
    "jpeg": lambda path, pixels: Image.fromarray(pixels).save(path, "JPEG"),
}


@pytest.mark.parametrize("name", WRITERS)
def test_reading_takes_no_more(tmp_path: Path, name: str) -> None:
    rows, columns, channels = np.ogrid[:SIDE, :SIDE, :3]
    WRITERS[name](tmp_path / "image", ((rows // 7 + columns // 5) % 200 + channels).astype(np.uint8))
    side, step = 400, 300
    with open_image(tmp_path / "image") as image:
        image.read(Window(0, 0, 8, 8))  # imports codecs
    with open_image(tmp_path / "image") as image:
        tracemalloc.start()
        try:
            for top in range(0, SIDE, step):
                for left in range(0, SIDE, step):
                    image.read(Window(top, left, side, side))
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak - side * side * 3 <= reader_bytes(image, side) * 1.05


class Described(ArrayReader):
    """An image of a claimed size, without pixels."""

    def __init__(self, side: int, chunk: tuple[int, int] | None, decoding_bytes: int = 0) -> None:
        super().__init__(np.zeros((1, 1, 3), np.uint8))
        for field, value in {"height": side, "width": side, "chunk": chunk}.items():
            object.__setattr__(self.info, field, value)
        self.decoding_bytes = decoding_bytes


MIB = 2**20


@pytest.mark.parametrize(
    ("image", "side", "expected"),
    [
        (Described(100_000, (512, 512)), 512, 64 * MIB + 512 * 512 * 3),
        (Described(100_000, (16, 100_000)), 1024, 192 * MIB + 16 * 100_000 * 3),
        (Described(100, (512, 512)), 512, 2 * 100 * 100 * 3),
        (Described(10_000, None, 900 * MIB), 512, 900 * MIB),
        (Described(10_000, (10_000, 10_000)), 512, 2 * 10_000**2 * 3),
    ],
)
def test_limits_of_the_cache(image: Described, side: int, expected: int) -> None:
    assert reader_bytes(image, side) == expected
