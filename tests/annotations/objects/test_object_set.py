"""Objects of an image as a file gives them."""

from __future__ import annotations

import numpy as np
import pytest

from fitcli.annotations.objects.object_set import ImageObjects, ObjectSource, nothing, packed_boxes


def test_boxes_points_and_crowds() -> None:
    objects = ImageObjects()
    objects.add_box((1, 2, 3, 5), 0)
    objects.add_point((7, 8), 1)
    objects.add_box((0, 0, 9, 9), 1, crowd=True)
    objects.add_box((4, 4, 4, 9), 0)
    result = objects.result(["a", "b"])
    assert result.outlines.boxes().tolist() == [[1, 2, 3, 5], [7, 8, 7, 8]]
    assert result.classes.tolist() == [0, 1]
    assert result.crowds.tolist() == [[0, 0, 9, 9]]
    assert result.ignored.boxes().tolist() == [[0, 0, 9, 9]]
    assert result.notes == ("1 box without an area left out",)
    assert result.counts() == {"a": 1, "b": 1}
    assert result.size_bytes > 0


@pytest.mark.parametrize(
    ("box", "message"),
    [((3, 0, 1, 5), "sides exchanged"), ((0, float("nan"), 1, 5), "coordinates"), ((0, 0, 1e13, 5), "at most 1e12")],
)
def test_impossible_boxes(box: tuple[float, float, float, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ImageObjects().add_box(box, 0)


def test_packed_boxes_are_closed() -> None:
    packed = packed_boxes(np.array([(0.0, 1.0, 2.0, 3.0)]))
    assert packed.points[0].tolist() == packed.points[-1].tolist()
    assert len(packed) == 1
    assert len(nothing()) == 0
    assert nothing().boxes().shape == (0, 4)


def test_sources_are_named() -> None:
    from pathlib import Path

    assert str(ObjectSource(Path("a.json"), "b.png")) == "a.json (b.png)"
    assert str(ObjectSource(Path("a.txt"))) == "a.txt"
