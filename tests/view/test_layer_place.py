"""Layers lie where their coordinates, their size or their scale say, and others are refused with what is wrong."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fitcli.errors import ImageError
from fitcli.images.base import ImageInfo
from fitcli.images.georeference import GeoReference
from fitcli.view.layer_place import LayerPlace, place_layer

UTM = GeoReference(scale=(10, 10, 0), tiepoints=(0, 0, 0, 4e5, 5.7e6, 0), keys=(1, 1, 0, 1, 3072, 0, 1, 32633))
PART = GeoReference(scale=(20, 20, 0), tiepoints=(0, 0, 0, 4e5 + 300, 5.7e6 - 500, 0), keys=UTM.keys)
FAR = dataclasses.replace(UTM, tiepoints=(0, 0, 0, 5e5, 5.7e6, 0))
OTHER = dataclasses.replace(UTM, keys=(1, 1, 0, 1, 3072, 0, 1, 32634))
TURNED = GeoReference(transformation=(7, 7, 0, 4e5, 7, -7, 0, 5.7e6, 0, 0, 0, 0, 0, 0, 0, 1), keys=UTM.keys)


def info(height: int, width: int, **settings: Any) -> ImageInfo:
    return ImageInfo(height=height, width=width, channels=1, dtype=np.dtype(np.uint8), **settings)


def place(layer: ImageInfo, image: ImageInfo) -> LayerPlace:
    return place_layer(Path("layer.tif"), layer, Path("image.tif"), image)


PLACED = {
    "the size of the image": (info(100, 200), info(100, 200), LayerPlace()),
    "smaller by 16": (info(63, 125), info(1000, 2000), LayerPlace(0, 0, 16, 16)),
    "smaller by 16, cut": (info(62, 125), info(1000, 2000), LayerPlace(0, 0, 16, 16)),
    "larger": (info(400, 800), info(100, 200), LayerPlace(0, 0, 0.25, 0.25)),
    "known scales": (info(26, 50, mpp=5.0), info(1000, 2000, mpp=0.125), LayerPlace(0, 0, 40, 40)),
    "georeferenced": (info(30, 30, geo=PART), info(200, 200, geo=UTM), LayerPlace(30, 50, 2, 2)),
    "one georeference": (info(100, 200), info(100, 200, geo=UTM), LayerPlace()),
}


@pytest.mark.parametrize("name", PLACED)
def test_where_a_layer_lies(name: str) -> None:
    layer, image, expected = PLACED[name]
    assert place(layer, image) == pytest.approx(expected)


REFUSED = {
    "another size": (info(100, 100), info(100, 200), "has 100 x 100 pixels, but image.tif has 200 x 100"),
    "another shape": (info(62, 100), info(1000, 2000), "one factor"),
    "elsewhere": (info(30, 30, geo=FAR), info(200, 200, geo=UTM), "lies elsewhere: at x 10000 to"),
    "another system": (info(30, 30, geo=OTHER), info(200, 200, geo=UTM), "EPSG:32634, but image.tif in EPSG:32633"),
    "turned": (info(30, 30, geo=TURNED), info(200, 200, geo=UTM), "turned"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused(name: str) -> None:
    layer, image, message = REFUSED[name]
    with pytest.raises(ImageError, match=message) as caught:
        place(layer, image)
    assert str(caught.value).startswith("layer.tif: ")


def test_the_last_pixel_of_a_layer_may_reach_beyond_the_image() -> None:
    found = place(info(63, 126), info(1001, 2003))
    assert found.across == found.down == 16
