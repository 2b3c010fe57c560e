"""CSV files of boxes and points, of one image or of many."""

from __future__ import annotations

from pathlib import Path

import pytest

from fitcli.annotations.objects.csv_objects import has_object_columns, object_columns, read_csv_objects
from fitcli.errors import ImageError


def written(path: Path, *lines: str) -> Path:
    (path / "a.csv").write_text("\n".join(lines) + "\n")
    return path / "a.csv"


@pytest.mark.parametrize(
    ("heading", "row", "box"),
    [
        ("path,xmin,ymin,xmax,ymax,label", "i.png,1,2,4,6,a", [1, 2, 4, 6]),
        ("image_path;xmin;ymin;xmax;ymax;label", "i.png;1;2;4;6;a", [1, 2, 4, 6]),
        ("label,x,y,w,h,path", "a,1,2,3,4,i.png", [1, 2, 4, 6]),
        ("Path,X,Y,Width,Height,Class", "i.png,1,2,3,4,a", [1, 2, 4, 6]),
        ("path,x,y,label", "i.png,1.5,2,a", [1.5, 2, 1.5, 2]),
        ("path,left,top,right,bottom,name", 'i.png,1,2,4,6,"a"', [1, 2, 4, 6]),
    ],
)
def test_columns(tmp_path: Path, heading: str, row: str, box: list[float]) -> None:
    path = written(tmp_path, heading, row)
    assert has_object_columns(path)
    found = read_csv_objects(path)["i.png"]
    assert found.outlines.boxes().tolist() == [box]
    assert found.counts() == {"a": 1}


def test_images_without_objects_and_files_of_one_image(tmp_path: Path) -> None:
    found = read_csv_objects(written(tmp_path, "path,x,y,label", "i.png,1,2,a", "j.png,,,", ",,,"))
    assert {name: objects.counts() for name, objects in found.items()} == {"i.png": {"a": 1}, "j.png": {}}
    alone = read_csv_objects(written(tmp_path, "x,y", "1,2", "3,4"))
    assert alone[""].counts() == {"object": 2}
    assert read_csv_objects(written(tmp_path, "x,y,label"))[""].counts() == {}


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (("path,label", "a,b"), "has the columns path,label; objects need"),
        (("path,x,y,label", "i.png,1,b,a"), "line 2 has 'b' where a number should be"),
        (("path,x,y,label", "i.png,1,nan,a"), "line 2 has the coordinates"),
        (("path,x,y,w,h,label", "i.png,1,2,-3,4,a"), "line 2 has a box of -3 x 4 pixels"),
        (("path,xmin,ymin,xmax,ymax,label", "i.png,5,2,3,4,a"), "line 2 has its sides exchanged"),
        (("path,x,y,label", "i.png,1,2,"), "line 2 has no class"),
        (("path,x,y,label", "i.png,1"), r"line 2 has no class \(it has 2 of 4 fields\)"),
    ],
)
def test_impossible_files(tmp_path: Path, lines: tuple[str, ...], message: str) -> None:
    with pytest.raises(ImageError, match=message) as caught:
        read_csv_objects(written(tmp_path, *lines))
    assert "\n" not in str(caught.value)


def test_no_text(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"path,x,y\n\xff\xfe,1,2\n")
    with pytest.raises(ImageError, match="is not UTF-8 text"):
        read_csv_objects(tmp_path / "a.csv")
    with pytest.raises(ImageError, match="cannot be read"):
        read_csv_objects(tmp_path / "none.csv")
    assert not has_object_columns(tmp_path / "none.csv")
    assert object_columns(["path", "label"]) is None
