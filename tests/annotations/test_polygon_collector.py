"""Properties name the class of a polygon; what was collected can be looked at before the end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.polygons import geometry, square

from fitcli.annotations.polygon_collector import PolygonCollector, class_of

CLASSES = [
    ({"classification": {"name": "Tumor", "colorRGB": -377282}, "objectType": "annotation"}, "Tumor"),
    ({"classification": {"names": ["Tumor", "Positive"], "color": [1, 2, 3]}}, "Tumor: Positive"),
    ({"classification": {"name": "Tumor: Positive"}}, "Tumor: Positive"),
    ({"objectType": "annotation", "name": "my notes"}, ""),
    ({"object_type": "annotation", "label": "x"}, ""),
    ({"isLocked": False, "classification": "Stroma"}, "Stroma"),
    ({"class": "road", "label": "way", "name": "A 1"}, "road"),
    ({"label": "way", "name": "A 1"}, "way"),
    ({"name": "A 1"}, "A 1"),
    ({"CLASS": "road"}, "road"),
    ({"class": 3}, "3"),
    ({"class": None, "name": " water "}, "water"),
    ({"class": True, "label": 1.5, "name": ["a"]}, ""),
    ({"name": "u\u0308ber"}, "\u00fcber"),
    ({}, ""),
]


@pytest.mark.parametrize(("properties", "name"), CLASSES, ids=lambda value: str(value)[:40])
def test_properties_name_the_class(properties: dict[str, Any], name: str) -> None:
    assert class_of(properties) == name


def test_more_can_be_added_to_what_was_looked_at() -> None:
    collector = PolygonCollector(Path("a.geojson"))
    collector.add({"type": "Feature", "geometry": geometry(square(1, 2, 3)), "properties": {"class": "a"}})
    some = collector.result(None, more=True)
    collector.add({"type": "Feature", "geometry": geometry(square(5, 5, 2)), "properties": {"class": "b"}})
    every = collector.result("pixels")
    assert [len(result.polygons) for result in (some, every)] == [1, 2]
    assert (some.names, every.names, every.classes.tolist()) == (("a",), ("a", "b"), [0, 1])
    assert (some.crs, every.crs) == (None, "pixels")
