"""A small file of shapes is there at once; a large one is read meanwhile, and what is wrong with it is told."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest
from support.polygons import collection, feature, square, write

from fitcli.errors import ImageError
from fitcli.images.array_image import ArrayReader
from fitcli.view import feature_layer
from fitcli.view.feature_layer import FeatureLayer

IMAGE = ArrayReader(np.zeros((200, 200, 3), np.uint8), path=Path("image.tif"))


def test_a_small_file_is_read_at_once(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.geojson", collection(feature(square(20, 30, 40), "tumor"), feature(square(1, 1, 9), "b"))
    )
    layer = FeatureLayer("a", path, IMAGE, {"b": (1, 2, 3)}, lambda text: None)
    document = layer.document()
    assert (document["state"], document["count"]) == ("ready", 2)
    assert document["classes"][1] == {"value": 1, "name": "b", "color": [1, 2, 3], "count": 1}
    assert json.loads(layer.tile(8, 0, 0))["count"] == 2


def test_a_small_file_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.geojson", collection(feature(square(2000, 30, 40), "tumor")))
    with pytest.raises(ImageError, match="no polygon on image"):
        FeatureLayer("a", path, IMAGE, {}, lambda text: None)


@pytest.mark.parametrize("left", [20, 2000])
def test_a_large_file_is_read_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: int) -> None:
    monkeypatch.setattr(feature_layer, "READ_FIRST_BYTES", 10)
    said: list[str] = []
    path = write(tmp_path / "a.geojson", collection(feature(square(left, 30, 40), "tumor")))
    layer = FeatureLayer("a", path, IMAGE, {}, said.append)
    while (document := layer.document())["state"] == "reading":
        assert json.loads(layer.tile(8, 0, 0)) in ({}, document)
        time.sleep(0.01)
    assert document["state"] == ("ready" if left == 20 else "error")
    if left == 2000:
        assert "no polygon on image.tif" in document["error"]
        assert said == [document["error"]]
