"""A small file of shapes is there at once; a large one is read meanwhile, and what is wrong with it is told."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from support.polygons import collection, feature, square, write

from fitcli.annotations import geojson_reader, json_stream
from fitcli.errors import ImageError
from fitcli.images.array_image import ArrayReader
from fitcli.view import feature_layer
from fitcli.view.feature_file import ViewedFeatures
from fitcli.view.feature_layer import FeatureLayer

PATIENCE = 200

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


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (MemoryError(), "memory ran out"),
        (OSError("it is gone"), "it is gone"),
        (ValueError("odd\nlines"), r"a.geojson: cannot be read (ValueError('odd\nlines')); please report it"),
        (IndexError(), "a.geojson: cannot be read (IndexError()); please report it"),
    ],
    ids=repr,
)
def test_whatever_ends_the_reading_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, text: str
) -> None:
    def fail(*_: object) -> ViewedFeatures:
        raise error

    monkeypatch.setattr(feature_layer, "READ_FIRST_BYTES", 10)
    monkeypatch.setattr(feature_layer, "read_features", fail)
    said: list[str] = []
    path = write(tmp_path / "a.geojson", collection(feature(square(1, 30, 40), "tumor")))
    layer = FeatureLayer("a", path, IMAGE, {}, said.append)
    end = time.monotonic() + PATIENCE
    while (document := layer.document())["state"] == "reading" and time.monotonic() < end:
        time.sleep(0.01)
    assert document["state"] == "error"
    assert text in document["error"]
    assert "\n" not in document["error"]


def test_what_has_been_read_can_be_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_layer, "READ_FIRST_BYTES", 10)
    monkeypatch.setattr(geojson_reader, "FIRST_SECONDS", 0)
    monkeypatch.setattr(json_stream, "BATCH", 2000)
    may_go_on = threading.Event()
    show_part = FeatureLayer._show_part

    def show_and_wait(layer: FeatureLayer, features: ViewedFeatures) -> None:
        show_part(layer, features)
        may_go_on.wait(PATIENCE)

    monkeypatch.setattr(FeatureLayer, "_show_part", show_and_wait)
    shapes = [feature(square(n % 190, n % 170, 3), "tumor") for n in range(500)]
    path = write(tmp_path / "a.geojson", collection(*shapes))
    layer = FeatureLayer("a", path, IMAGE, {}, pytest.fail)
    while (document := layer.document())["version"] == 0:
        time.sleep(0.01)
    assert document["state"] == "reading"
    assert 0 < document["count"] < 500
    assert json.loads(layer.tile(8, 0, 0))["count"] == document["count"]
    assert document["classes"][0]["name"] == "tumor"
    may_go_on.set()
    while (last := layer.document())["state"] == "reading":
        time.sleep(0.01)
    assert (last["state"], last["count"]) == ("ready", 500)
    assert last["version"] > document["version"]
