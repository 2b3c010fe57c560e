"""Options of `create_image`: invalid ones are refused, and a format completes the others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fitcli.errors import ImageError
from fitcli.images.base import ImageInfo
from fitcli.images.open import create_image
from fitcli.images.write_options import WriteOptions


def description(**changes: Any) -> ImageInfo:
    return ImageInfo(**{"height": 10, "width": 10, "channels": 3, "dtype": np.dtype(np.uint8), **changes})


@pytest.mark.parametrize(
    "wrong",
    [
        {"chunk": 100},
        {"chunk": 0},
        {"quality": 0},
        {"quality": 101},
        {"levels": 0},
        {"resampling": "cubic"},
        {"compression": "zip"},
        {"threads": 0},
    ],
)
def test_invalid_options(tmp_path: Path, wrong: dict[str, Any]) -> None:
    for name in ("x.tif", "x.zarr", "x.png"):
        with pytest.raises(ValueError, match="not"):
            create_image(tmp_path / name, description(), **wrong)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("dtype", ["?", "u8", "i8", "c8"])
def test_dtypes_that_cannot_be_averaged_are_refused(dtype: str) -> None:
    with pytest.raises(ValueError, match="pixels must be integers of at most 32 bits or floats"):
        WriteOptions(description(dtype=np.dtype(dtype)))


@pytest.mark.parametrize(
    ("size", "levels", "chunk", "sizes"),
    [
        ((10, 33), "auto", 48, [(10, 33)]),
        ((600, 1100), "auto", 512, [(600, 1100), (300, 550), (150, 275)]),
        ((600, 1100), 2, 512, [(600, 1100), (300, 550)]),
    ],
)
def test_levels_and_chunks_are_completed(
    size: tuple[int, int], levels: Any, chunk: int, sizes: list[tuple[int, int]]
) -> None:
    options = WriteOptions(description(height=size[0], width=size[1], mpp=0.5), levels=levels)
    info = options.complete("TIFF", "YXS")
    assert [(level.height, level.width) for level in info.levels] == sizes
    assert (info.chunk, info.format, info.axes, info.mpp) == ((chunk, chunk), "TIFF", "YXS", 0.5)


def test_choice_of_compression() -> None:
    allowed: Any = ("zstd", "none")
    assert WriteOptions(description()).choose_compression(Path("x"), allowed, "zstd") == "zstd"
    assert WriteOptions(description(), compression="none").choose_compression(Path("x"), allowed, "zstd") == "none"
    with pytest.raises(ImageError, match="x: cannot be compressed with jpeg; use zstd or none"):
        WriteOptions(description(), compression="jpeg").choose_compression(Path("x"), allowed, "zstd")
