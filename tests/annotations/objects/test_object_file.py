"""Every format is read by its suffix and content."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from support.polygons import collection, feature, square, write

from fitcli.annotations.geopackage_file import POINT, GeoPackageFile
from fitcli.annotations.objects.object_file import holds_objects, read_objects
from fitcli.annotations.objects.object_set import ObjectSource
from fitcli.errors import ImageError

COCO = {
    "images": [{"id": 1, "file_name": "i.png"}, {"id": 2, "file_name": "j.png"}],
    "annotations": [{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]}],
    "categories": [{"id": 1, "name": "cell"}],
}


def geopackage(path: Path) -> Path:
    package = GeoPackageFile(path, "objects", POINT, {"class": "TEXT"}, None)
    package.add([np.array([[1, -2]])], ("cell",))
    package.finish()
    return path


def files(folder: Path) -> dict[str, Path]:
    geojson = collection(feature(square(1, 2, 3), "cell"))
    (folder / "classes.txt").write_text("cell\n")
    (folder / "a.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    (folder / "a.csv").write_text("x,y,w,h,label\n1,2,3,3,cell\n")
    (folder / "a.xml").write_text(
        "<annotation><object><name>cell</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>4</xmax><ymax>5</ymax>"
        "</bndbox></object></annotation>"
    )
    packed = folder / "a.geojson.gz"
    packed.write_bytes(gzip.compress(write(folder / "a.geojson", geojson).read_bytes()))
    return {
        "geojson": folder / "a.geojson", "packed": packed, "json": write(folder / "b.json", geojson),
        "gpkg": geopackage(folder / "a.gpkg"), "txt": folder / "a.txt", "csv": folder / "a.csv",
        "xml": folder / "a.xml",
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["geojson", "packed", "json", "gpkg", "txt", "csv", "xml"])
def test_files_of_one_image(tmp_path: Path, kind: str) -> None:
    path = files(tmp_path)[kind]
    assert holds_objects(path)
    assert read_objects(ObjectSource(path)).counts() == {"cell": 1}


def test_a_file_of_several_images(tmp_path: Path) -> None:
    path = write(tmp_path / "coco.json", COCO)
    assert read_objects(ObjectSource(path, "i.png")).counts() == {"cell": 1}
    assert read_objects(ObjectSource(path, "j.png")).counts() == {}
    with pytest.raises(ImageError, match=r"no objects of an image 'k\.png'"):
        read_objects(ObjectSource(path, "k.png"))
    with pytest.raises(ImageError, match="objects of 2 images, where those of one are needed; to train"):
        read_objects(ObjectSource(path))


def test_other_files(tmp_path: Path) -> None:
    (tmp_path / "a.doc").write_text("")
    assert not holds_objects(tmp_path / "a.doc")
    with pytest.raises(ImageError, match="objects are read from"):
        read_objects(ObjectSource(tmp_path / "a.doc"))
