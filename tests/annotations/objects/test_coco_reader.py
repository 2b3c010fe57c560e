"""COCO files: boxes by image, crowds, and impossible entries in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.polygons import collection, write

from fitcli.annotations.objects.coco_reader import holds_coco, read_coco
from fitcli.errors import ImageError

IMAGES = [{"id": 5, "file_name": "a.png", "width": 60, "height": 40}, {"id": 2, "file_name": "b.png"}]
CATEGORIES = [{"id": 90, "name": "cell"}, {"id": 3, "name": "mitosis"}]


def coco(path: Path, *annotations: dict[str, Any], **changes: Any) -> Path:
    document = {"info": {"x": [1]}, "images": IMAGES, "annotations": list(annotations), "categories": CATEGORIES}
    return write(path / "a.json", document | changes)


def box(*values: float, image: int = 5, category: int = 3, **more: Any) -> dict[str, Any]:
    return {"id": 1, "image_id": image, "category_id": category, "bbox": list(values)} | more


def test_boxes_by_image(tmp_path: Path) -> None:
    path = coco(
        tmp_path,
        box(1, 2, 3, 4),
        box(0, 0, 9, 9, iscrowd=1, segmentation={"counts": "x"}),
        box(5, 5, 2, 2, category=90),
    )
    assert holds_coco(path)
    found = read_coco(path)
    assert list(found) == ["a.png", "b.png"]
    assert found["a.png"].outlines.boxes().tolist() == [[1, 2, 4, 6], [5, 5, 7, 7]]
    assert found["a.png"].counts() == {"cell": 1, "mitosis": 1}
    assert found["a.png"].crowds.tolist() == [[0, 0, 9, 9]]
    assert (found["a.png"].size, found["b.png"].size) == ((40, 60), None)
    assert found["b.png"].counts() == {}


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        (box(1, 2, 3, 4, image=7), "annotation 1 has the image_id 7, which no image has"),
        (box(1, 2, 3, 4, category=7), "has the category_id 7, which no category has"),
        (box(1, 2, 3), "no list of four numbers"),
        (box(1, 2, -3, 4), "bbox of -3 x 4 pixels"),
        (box(1, float("nan"), 3, 4), "has the coordinates"),
        ({"image_id": 5}, "wrong structure"),
        (box(1, 2, 3, 4, image=[5]), "wrong structure"),  # type: ignore[arg-type]
    ],
)
def test_impossible_annotations(tmp_path: Path, annotation: dict[str, Any], message: str) -> None:
    with pytest.raises(ImageError, match=message.replace("[", r"\[")) as caught:
        read_coco(coco(tmp_path, annotation))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": []}, "no list of images"),
        ({"images": [{"id": 1}]}, "an image without id and file_name"),
        ({"images": IMAGES + IMAGES[:1]}, "twice"),
        ({"categories": [{"id": 1, "name": " "}]}, "without a name"),
        ({"categories": [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]}, "two categories of one name or id"),
        ({"categories": ["a"]}, "a category without id and name"),
    ],
)
def test_impossible_files(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ImageError, match=message):
        read_coco(coco(tmp_path, **changes))


def test_other_json_is_no_coco(tmp_path: Path) -> None:
    assert not holds_coco(write(tmp_path / "a.json", collection()))
    assert not holds_coco(write(tmp_path / "b.json", [1]))
    with pytest.raises(ImageError, match="outermost value is no object"):
        read_coco(tmp_path / "b.json")


def test_many_boxes(tmp_path: Path) -> None:
    path = coco(tmp_path, *[box(n % 50, 1, 2, 3) for n in range(30_000)])
    assert read_coco(path)["a.png"].counts() == {"mitosis": 30_000}
