"""Values of label images become classes, and unknown ones are named with their counts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.pictures import save

from fitcli.annotations.class_table import ClassTable
from fitcli.annotations.label_counts import count_label_image
from fitcli.annotations.value_classes import check_values, table_of_values, taken_text, with_own_colors
from fitcli.errors import DataError
from fitcli.images.read_as import AS_STORED


def counted(folder: Path, values: list[int]) -> list[object]:
    image = save(folder / "image.png", np.zeros((1, len(values), 3), np.uint8))
    picture = Image.fromarray(np.array([values], np.uint8), mode="P")
    picture.putpalette([part for value in range(256) for part in (value, 1, 2)])
    picture.save(folder / "labels.png")
    return [((image, folder / "labels.png"), count_label_image(image, folder / "labels.png", AS_STORED))]


def test_every_value_but_255_is_a_class_with_its_colour(tmp_path: Path) -> None:
    found = counted(tmp_path, [7, 0, 7, 255])
    table = table_of_values(found)
    assert (table.names, table.values) == (("0", "7"), (0, 7))
    assert with_own_colors(table, found).colors == ((0, 1, 2), (7, 1, 2))
    assert taken_text(table).startswith("every value of the label images was taken as a class: 0, 7; 255 and nodata")


def test_values_without_a_class_are_named(tmp_path: Path) -> None:
    found = counted(tmp_path, [7, 0, 7, 255])
    check_values(found, ClassTable(("a", "b"), (0, 7)))
    with pytest.raises(DataError, match=r"labels\.png: values that no class has: 7 \(2 pixels\)"):
        check_values(found, ClassTable(("a", "b"), (0, 1)))
