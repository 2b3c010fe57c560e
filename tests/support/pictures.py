"""Makes small image files for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import zarr

from fitcli.images.base import ImageInfo
from fitcli.images.open import create_image
from fitcli.images.window import Window


def save(
    path: Path, pixels: np.ndarray, mpp: float | None = None, nodata: float | None = None, **settings: object
) -> Path:
    """Write pixels [height, width, channels] as an image; return its path."""
    height, width, channels = pixels.shape
    info = ImageInfo(
        height=height,
        width=width,
        channels=channels,
        dtype=pixels.dtype,
        color=channels >= 3,
        mpp=mpp,
        nodata=nodata,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with create_image(path, info, **settings) as canvas:  # type: ignore[arg-type]
        canvas.write(Window(0, 0, height, width), pixels)
    return path


def colored(shape: tuple[int, int], color: tuple[int, ...], seed: int) -> np.ndarray:
    """Return noise with a standard deviation of 20 around a colour."""
    noise = np.random.default_rng(seed).normal(0, 20, (*shape, len(color)))
    return np.clip(np.array(color) + noise, 0, 255).astype(np.uint8)


def endless_image(path: Path, side: int = 2**40) -> Path:
    """Write a grey image of `side` x `side` pixels, none of which are stored; return its path."""
    zarr.create_array(str(path), shape=(side, side), dtype="u1", chunks=(512, 512), fill_value=9)
    return path
