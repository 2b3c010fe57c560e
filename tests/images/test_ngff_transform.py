"""Coordinates of pixels in OME-Zarr: those of parts, of other sizes, and of layers over an image."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fitcli.images.base import ImageInfo
from fitcli.images.ngff_transform import NgffTransform
from fitcli.images.open import create_image, open_image
from fitcli.images.window import Window

PLACE = NgffTransform(scale=(0.5, 0.25), origin=(10.0, -4.0), unit="millimeter")


def at(transform: NgffTransform, row: float, column: float) -> tuple[float, float]:
    """Return the coordinates of a point; pixel centres lie at whole numbers."""
    return transform.origin[0] + row * transform.scale[0], transform.origin[1] + column * transform.scale[1]


def test_a_part_keeps_the_place_of_its_pixels() -> None:
    part = PLACE.crop(7, 3)
    assert at(part, 2, 5) == at(PLACE, 9, 8)
    assert part.unit == "millimeter"


def test_another_size_keeps_the_corners() -> None:
    resized = PLACE.resize((100, 60), (25, 30))
    assert at(resized, -0.5, -0.5) == pytest.approx(at(PLACE, -0.5, -0.5))
    assert at(resized, 24.5, 29.5) == pytest.approx(at(PLACE, 99.5, 59.5))


@pytest.mark.parametrize("values", [{"scale": (0.0, 1.0)}, {"scale": (1.0, math.nan)}, {"origin": (math.inf, 0.0)}])
def test_impossible_numbers_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="finite numbers and scales above 0"):
        NgffTransform(**{"scale": (1.0, 1.0), **values})


def write(path: Path, info: ImageInfo) -> Path:
    with create_image(path, info) as writer:
        writer.write(Window(0, 0, *info.size), np.zeros((*info.size, info.channels), info.dtype))
    return path


def change(path: Path, change: Any) -> None:
    document = json.loads((path / "zarr.json").read_text())
    change(document["attributes"]["ome"]["multiscales"][0])
    (path / "zarr.json").write_text(json.dumps(document))


@pytest.mark.parametrize("unit", ["", "nanometer", "micrometer"])
def test_zarr_keeps_a_transform(tmp_path: Path, unit: str) -> None:
    place = dataclasses.replace(PLACE, unit=unit)
    info = ImageInfo(height=1100, width=600, channels=1, dtype=np.dtype("uint8"), ngff_transform=place)
    with open_image(write(tmp_path / "a.ome.zarr", info)) as image:
        assert image.info.ngff_transform == place
        assert len(image.info.levels) > 1
        layer = image.info.layer(2, "f4", channel_names=("a", ""))
    with open_image(write(tmp_path / "layer.ome.zarr", layer)) as image:
        assert image.info.ngff_transform == place
        assert image.info.channel_names == ("a", "channel 2")


def test_the_transformations_of_array_and_image_are_composed(tmp_path: Path) -> None:
    info = ImageInfo(height=40, width=30, channels=1, dtype=np.dtype("uint8"), ngff_transform=PLACE)
    path = write(tmp_path / "a.ome.zarr", info)

    def outer(image: dict[str, Any]) -> None:
        image["coordinateTransformations"] = [
            {"type": "scale", "scale": [1.0, 4.0, 2.0]},
            {"type": "translation", "translation": [0.0, 100.0, 200.0]},
        ]

    change(path, outer)
    with open_image(path) as image:
        found = image.info.ngff_transform
    assert found is not None
    y, x = at(PLACE, 3, 6)
    assert at(found, 3, 6) == pytest.approx((4 * y + 100, 2 * x + 200))


@pytest.mark.parametrize("numbers", [[0.0, "x", 1.0], [0.0], [1.0, -1.0, 1.0], [None, None, None], [1.0, 1e400, 1.0]])
def test_impossible_transformations_are_none(tmp_path: Path, numbers: list[Any]) -> None:
    info = ImageInfo(height=40, width=30, channels=1, dtype=np.dtype("uint8"), ngff_transform=PLACE)
    path = write(tmp_path / "a.ome.zarr", info)

    def damage(image: dict[str, Any]) -> None:
        image["datasets"][0]["coordinateTransformations"][1]["translation"] = numbers
        image["coordinateTransformations"] = [{"type": "scale", "scale": [1.0, -1.0, 1.0]}]
        for axis in image["axes"]:
            axis.pop("unit", None)

    change(path, damage)
    with open_image(path) as image:
        assert image.info.ngff_transform is None
