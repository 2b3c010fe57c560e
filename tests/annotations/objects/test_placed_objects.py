"""Objects on an image: coordinates, levels, clipping, and where they count."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.detect_models import objects_of
from support.pictures import save
from support.polygons import collection, feature, packed, square, write

from fitcli.annotations.objects.object_set import ObjectSource
from fitcli.annotations.objects.placed_objects import place_objects
from fitcli.errors import ImageError
from fitcli.images.read_as import ReadAs, open_as

NAMES = ("cell", "mitosis")


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """60 x 40 pixels of half a micron."""
    return save(tmp_path / "i.tif", np.zeros((40, 60, 3), np.uint8), mpp=0.5)


def placed(image: Path, source: Path, how: ReadAs | None = None, name: str = "") -> Any:
    with open_as(image, how or ReadAs()) as reader:
        return place_objects(ObjectSource(source, name), reader, NAMES)


def csv(folder: Path, *rows: str) -> Path:
    (folder / "a.csv").write_text("\n".join(["xmin,ymin,xmax,ymax,label", *rows]) + "\n")
    return folder / "a.csv"


def test_boxes_are_clipped_and_those_outside_left_out(image: Path, tmp_path: Path) -> None:
    found = placed(image, csv(tmp_path, "1,2,5,6,mitosis", "50,30,90,70,cell", "60,0,70,9,cell"))
    assert found.boxes.tolist() == [[1, 2, 5, 6], [50, 30, 60, 40]]
    assert found.numbers.tolist() == [1, 0]
    assert found.notes == (f"1 object outside of {image} left out",)


def test_the_scale_of_the_image_counts(image: Path, tmp_path: Path) -> None:
    found = placed(image, csv(tmp_path, "10,20,30,40,cell"), ReadAs(mpp=1.0))
    assert found.boxes.tolist() == [[5, 10, 15, 20]]


def test_shares_of_the_sides(image: Path, tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("cell\n")
    (tmp_path / "a.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    assert placed(image, tmp_path / "a.txt").boxes.tolist() == [[15, 10, 45, 30]]
    assert placed(image, tmp_path / "a.txt", ReadAs(mpp=1.0)).boxes.tolist() == [[7.5, 5, 22.5, 15]]


def test_polygons_in_pixels_with_areas(image: Path, tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.geojson",
        collection(
            feature(square(2, 3, 5), "cell"), feature(square(0, 0, 20), "Region"), feature(square(4, 4, 4), "Ignore*")
        ),
    )
    found = placed(image, path)
    assert found.boxes.tolist() == [[2, 3, 7, 8]]
    counted = found.counted(0.5, 0.5, 40, 60, 1)
    expected = np.zeros((40, 60), bool)
    expected[:20, :20] = True
    expected[4:8, 4:8] = False
    assert np.array_equal(counted, expected)
    y, x = np.mgrid[1:40:4, 1:60:4] + 0.5
    assert np.array_equal(found.counted(1.5, 1.5, *y.shape, 4), expected[1::4, 1::4])
    points = np.stack([x.ravel(), y.ravel()], axis=1)
    assert np.array_equal(found.counted_points(points), expected[1::4, 1::4].ravel())


def test_everything_counts_without_areas() -> None:
    objects = objects_of([(1, 2, 3, 4)])
    assert objects.counts_everywhere
    assert objects.counted_points(np.array([(-5.0, 1e6)])).all()
    assert objects.near(0, 0, 1, 1).tolist() == []
    assert objects.near(0, 0, 2, 2).tolist() == [0]
    assert objects_of([]).near(0, 0, 9, 9).tolist() == []
    assert not objects_of([], ignored=packed([square(0, 0, 5)])).counts_everywhere


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["1,2,3,4,tree"], "has objects of unknown classes: 'tree' \\(1\\); the classes are 'cell', 'mitosis'"),
        (["100,200,300,400,cell"], "has no object on .*60 x 40 pixels; its objects lie around \\(100, 200\\)"),
    ],
)
def test_objects_of_something_else(image: Path, tmp_path: Path, rows: list[str], message: str) -> None:
    with pytest.raises(ImageError, match=message):
        placed(image, csv(tmp_path, *rows))


def test_the_size_must_agree(image: Path, tmp_path: Path) -> None:
    document = {
        "images": [{"id": 1, "file_name": "i.tif", "width": 40, "height": 60}],
        "annotations": [],
        "categories": [],
    }
    path = write(tmp_path / "a.json", document)
    with pytest.raises(ImageError, match=r"says that i\.tif has 40 x 60 pixels, but .* has 60 x 40"):
        placed(image, path, name="i.tif")


def voc(path: Path, filename: str) -> Path:
    box = "<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>4</xmax><ymax>6</ymax></bndbox>"
    path.write_text(f"<annotation><filename>{filename}</filename><object><name>cell</name>{box}</object></annotation>")
    return path


@pytest.mark.parametrize("name", ["", "i.tif", "i", "I.TIF", "i.jpg", "data/i.png", "C:\\slides\\i.tif", "  i.tif\n"])
def test_a_voc_file_may_name_its_image(image: Path, tmp_path: Path, name: str) -> None:
    assert placed(image, voc(tmp_path / "a.xml", name)).notes == ()


@pytest.mark.parametrize("name", ["unknown", "j.tif", "..", "i2.tif", "x" * 500])
def test_a_voc_file_that_names_another_image_is_noted(image: Path, tmp_path: Path, name: str) -> None:
    (note,) = placed(image, voc(tmp_path / "a.xml", name)).notes
    assert note == f"says that it belongs to {name[:80]!r}, but is used for i.tif"


@pytest.mark.parametrize("name", ["j.tif", "images/j.tif"])
def test_a_voc_file_of_the_image_beside_is_refused(image: Path, tmp_path: Path, name: str) -> None:
    save(tmp_path / "j.tif", np.zeros((40, 60, 3), np.uint8))
    with pytest.raises(ImageError, match=r"a.xml: says that it belongs to 'j.tif', which lies beside .*i.tif; its box"):
        placed(image, voc(tmp_path / "a.xml", name))
