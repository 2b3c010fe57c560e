"""Which reader opens labels, and where labels inside an OME-Zarr image lie."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.pictures import save
from support.zarr_labels import group

from fitcli.annotations import labels
from fitcli.annotations.class_table import ClassTable
from fitcli.annotations.label_image import LabelImage
from fitcli.annotations.label_rules import LabelRules
from fitcli.annotations.labels import has_polygons, label_file, labels_inside, open_labels
from fitcli.errors import DataError, ImageError
from fitcli.images.array_image import ArrayReader
from fitcli.images.window import Window

TABLE = ClassTable(("a", "b"), (0, 1))
PIXELS = np.random.default_rng(0).integers(0, 2, (20, 30, 1), np.uint8)


def image() -> ArrayReader:
    return ArrayReader(np.zeros((20, 30, 3), np.uint8))


def zarr_with_labels(folder: Path, *names: str) -> Path:
    path = save(folder / "image.zarr", np.zeros((20, 30, 3), np.uint8))
    group(path / "labels", {"labels": list(names)})
    for name in names:
        save(path / "labels" / name / "x.zarr", PIXELS).rename(path / "labels" / f"{name}-moved")
        (path / "labels" / name).rmdir()
        (path / "labels" / f"{name}-moved").rename(path / "labels" / name)
    return path


@pytest.mark.parametrize("name", ["x.geojson", "x.JSON", "x.geojson.gz", "x.json.gz"])
def test_polygons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    asked = []

    class Fake:
        def __init__(self, *arguments: object) -> None:
            asked.append(arguments)

    monkeypatch.setattr(labels, "PolygonLabels", Fake)
    (tmp_path / name).write_text("{}")
    shown, rules = image(), LabelRules(elsewhere="a")
    assert has_polygons(tmp_path / name)
    assert isinstance(open_labels(tmp_path / name, shown, TABLE, rules), Fake)
    assert asked == [(tmp_path / name, shown, TABLE, rules)]


@pytest.mark.parametrize("name", ["x.png", "x.tif", "x.zarr"])
def test_label_images(tmp_path: Path, name: str) -> None:
    with open_labels(save(tmp_path / name, PIXELS), image(), TABLE, LabelRules()) as opened:
        assert isinstance(opened, LabelImage)
        np.testing.assert_array_equal(opened.read(Window(0, 0, 20, 30)), PIXELS)


@pytest.mark.parametrize("name", ["image.zarr#labels/cells", "image.zarr/labels/cells"])
def test_inside_an_image(tmp_path: Path, name: str) -> None:
    path = zarr_with_labels(tmp_path, "cells")
    assert labels_inside(path) == label_file(tmp_path / name) == path / "labels/cells"
    with open_labels(tmp_path / name, image(), TABLE, LabelRules()) as opened:
        np.testing.assert_array_equal(opened.read(Window(0, 0, 20, 30)), PIXELS)


def test_several_or_none_inside(tmp_path: Path) -> None:
    path = zarr_with_labels(tmp_path / "a", "cells", "tissue")
    with pytest.raises(DataError, match=r"cells, tissue; name one .* as image.zarr#labels/cells"):
        labels_inside(path)
    assert labels_inside(save(tmp_path / "b.zarr", PIXELS)) is None
    assert labels_inside(save(tmp_path / "b.png", PIXELS)) is None


@pytest.mark.parametrize("name", ["image.zarr#../other", "image.zarr#labels/none", "no.zarr#labels/cells", "x#y.png"])
def test_nothing_there(tmp_path: Path, name: str) -> None:
    zarr_with_labels(tmp_path, "cells")
    save(tmp_path / "other.png", PIXELS)
    with pytest.raises(ImageError):
        open_labels(tmp_path / name, image(), TABLE, LabelRules())


def test_a_name_may_have_the_character(tmp_path: Path) -> None:
    assert label_file(save(tmp_path / "a#1.png", PIXELS)) == tmp_path / "a#1.png"
