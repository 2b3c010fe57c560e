"""The classes that occur in labels of every kind, and none where labels cannot be read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from support.pictures import save
from support.polygons import collection, feature, square, write

from fitcli.annotations.label_contents import label_contents
from fitcli.annotations.objects.object_set import ObjectSource


def test_labels_of_every_kind(tmp_path: Path) -> None:
    image = save(tmp_path / "image.png", np.zeros((20, 30, 3), np.uint8))
    values = np.zeros((20, 30, 1), np.uint8)
    values[3, 4] = 7
    picture = save(tmp_path / "values.png", values)
    polygons = write(
        tmp_path / "areas.geojson", collection(feature(square(1, 1, 4), "tumor"), feature(square(8, 8, 2), "Ignore*"))
    )
    boxes = write(
        tmp_path / "coco.json",
        {
            "images": [{"id": n, "file_name": f"{n}.png", "width": 30, "height": 20} for n in (1, 2)],
            "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
            "annotations": [
                {"id": n, "image_id": 1, "category_id": n, "bbox": [1, 1, 5, 5], "iscrowd": 0} for n in (1, 2)
            ],
        },
    )
    (tmp_path / "broken.geojson").write_text("{")
    found = label_contents(
        [
            (image, picture),
            (image, polygons),
            (image, ObjectSource(boxes, "1.png")),
            (image, ObjectSource(boxes, "2.png")),
            (image, tmp_path / "broken.geojson"),
            (image, tmp_path / "missing.png"),
        ]
    )
    assert found == [{"0", "7"}, {"tumor"}, {"cat", "dog"}, set(), set(), set()]
