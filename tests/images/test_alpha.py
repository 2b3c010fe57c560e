"""Which second or fourth channel counts as alpha, by format."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from fitcli.images.base import ImageInfo
from fitcli.images.open import create_image, open_image
from fitcli.images.plane_choice import EVERYTHING, PlaneChoice
from fitcli.images.window import Window

RANDOM = np.random.default_rng(0)


def pixels(channels: int, axis: int = -1) -> Any:
    shape = [40, 50]
    shape.insert(len(shape) if axis == -1 else 0, channels)
    return RANDOM.integers(0, 255, shape).astype(np.uint8)


def picture(mode: str) -> Callable[[Path], Path]:
    def save(folder: Path) -> Path:
        Image.new(mode, (50, 40)).save(folder / "a.png")
        return folder / "a.png"

    return save


def tiff(name: str, values: Any, **options: Any) -> Callable[[Path], Path]:
    def save(folder: Path) -> Path:
        tifffile.imwrite(folder / name, values, **options)
        return folder / name

    return save


def zarr(channels: int) -> Callable[[Path], Path]:
    def save(folder: Path) -> Path:
        info = ImageInfo(height=40, width=50, channels=channels, dtype=np.dtype("u1"))
        with create_image(folder / "a.zarr", info) as writer:
            writer.write(Window(0, 0, 40, 50), pixels(channels))
        return folder / "a.zarr"

    return save


GREY = {"photometric": "minisblack", "planarconfig": "contig", "metadata": None}
TABLE: dict[str, tuple[Callable[[Path], Path], PlaneChoice, bool]] = {
    "grey": (picture("L"), EVERYTHING, False),
    "grey and alpha": (picture("LA"), EVERYTHING, True),
    "colour": (picture("RGB"), EVERYTHING, False),
    "colour and alpha": (picture("RGBA"), EVERYTHING, True),
    "two of three colours": (picture("RGB"), PlaneChoice(channels="0,1"), False),
    "samples of a TIFF": (tiff("a.tif", pixels(2), extrasamples=["unassalpha"], **GREY), EVERYTHING, True),
    "chosen samples": (
        tiff("a.tif", pixels(3), photometric="rgb", metadata=None), PlaneChoice(channels="0,1"), False,
    ),
    "channels of OME-TIFF": (
        tiff("a.ome.tif", pixels(2, 0), photometric="minisblack", metadata={"axes": "CYX"}), EVERYTHING, False,
    ),
    "channels of ImageJ": (tiff("a.tif", pixels(2, 0), imagej=True, metadata={"axes": "CYX"}), EVERYTHING, False),
    "pages as channels": (
        tiff("a.tif", pixels(2, 0), photometric="minisblack"), PlaneChoice(channels="all"), False,
    ),
    "channels of zarr": (zarr(2), EVERYTHING, False),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLE)
def test_alpha(tmp_path: Path, name: str) -> None:
    save, choice, alpha = TABLE[name]
    with open_image(save(tmp_path), choice=choice) as image:
        assert image.info.alpha is alpha
