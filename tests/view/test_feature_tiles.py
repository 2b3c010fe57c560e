"""Tiles of shapes: each shape lies where it is to a part of a pixel, none disappears, and no tile is large."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from support.polygons import packed, square

from fitcli.annotations.packed_polygons import PackedPolygons
from fitcli.view import feature_tiles
from fitcli.view.feature_file import ViewedFeatures
from fitcli.view.feature_tiles import PARTS, FeatureTiles
from fitcli.view.tile_grid import TILE


def tiles(shapes: PackedPolygons, classes: Any = 0, size: tuple[int, int] = (4000, 4000)) -> FeatureTiles:
    numbers = np.broadcast_to(np.asarray(classes, np.int32), len(shapes))
    return FeatureTiles(ViewedFeatures(shapes, numbers, ("a", "b")), size)


def points(*places: tuple[float, float]) -> PackedPolygons:
    count = np.arange(len(places) + 1)
    return PackedPolygons(np.array(places, np.float64), count, count)


def box(ring: list[int]) -> list[float]:
    xs, ys = ring[::2], ring[1::2]
    return [min(xs) / PARTS, min(ys) / PARTS, max(xs) / PARTS, max(ys) / PARTS]


def test_an_outline_lies_where_it_is_at_every_level() -> None:
    found = tiles(packed([square(1000.3, 900.7, 80)]))
    top = found.grid.top
    for level, column, row in ((top, 3, 3), (top - 2, 0, 0), (top + 3, 31, 28)):
        step = found.grid.step(level)
        ((kind, ((ring,),)),) = found.tile(level, column, row)["outlines"]
        assert kind == 0
        left, top_side = column * TILE * step, row * TILE * step
        expected = [(1000.3 - left) / step, (900.7 - top_side) / step]
        assert np.abs(np.array(box(ring)[:2]) - expected).max() <= 0.5 / PARTS + 1e-9 or level > top


def test_what_is_left_of_an_outline_off_the_tile_encloses_the_same_part_of_it() -> None:
    # A circle of many points around the tile and far beyond.
    turn = np.linspace(0, 2 * np.pi, 200_001)[:-1]
    ring = np.stack([2000 + 1500 * np.cos(turn), 2000 + 1500 * np.sin(turn)], axis=1)
    found = tiles(packed([[list(map(tuple, ring))]]))
    ((_, ((small,),)),) = found.tile(found.grid.top, 1, 7)["outlines"]
    assert len(small) < 4000
    # Inside of the tile, every pixel edge of the circle is there.
    xs, ys = np.array(small[::2]) / PARTS + TILE, np.array(small[1::2]) / PARTS + 7 * TILE
    inside = (xs >= 256) & (xs < 512) & (ys >= 1792) & (ys < 2048)
    radius = np.hypot(xs[inside] - 2000, ys[inside] - 2000)
    assert len(radius) > 100
    assert np.abs(radius - 1500).max() < 0.3
    assert np.allclose((xs[0], ys[0]), (xs[-1], ys[-1]))


def test_a_shape_around_the_tile_keeps_its_corners() -> None:
    found = tiles(packed([square(-1000, -1000, 8000)]))
    ((_, ((ring,),)),) = found.tile(found.grid.top, 5, 5)["outlines"]
    assert len(set(zip(ring[::2], ring[1::2], strict=True))) == 4


def test_small_shapes_are_dots_once_per_pixel_and_class() -> None:
    shapes = packed([square(100, 100, 1), square(100.5, 100.2, 1), square(100, 100, 1), square(900, 100, 1)])
    found = tiles(shapes, [0, 0, 1, 0]).tile(10, 0, 0)
    assert found["count"] == 4
    assert found["outlines"] == found["points"] == []
    (first, dots), (second, more) = found["dots"]
    assert (first, second) == (0, 1)
    assert len(dots) == 4
    assert len(more) == 2


def test_points_are_points() -> None:
    found = tiles(points((100, 200), (300, 300)), [1, 0]).tile(12, 0, 0)
    assert found["points"] == [[1, [400, 800]]]


def test_too_many_outlines_become_dots_and_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_tiles, "MOST_OUTLINES", 10)
    shapes = packed([square(20 + 12 * n, 50, 5 + n % 4) for n in range(18)])
    found = tiles(shapes).tile(12, 0, 0)
    assert sum(len(each) for _, each in found["outlines"]) == 10
    assert found["dotted"] == 8
    assert sum(len(dots) // 2 for _, dots in found["dots"]) == 8


def test_a_tile_of_very_many_objects_is_small() -> None:
    random = np.random.default_rng(0)
    corners = random.uniform(0, 19990, (200_000, 2))
    ring = corners[:, None] + np.array([(0, 0), (9, 0), (9, 9), (0, 0)], float)
    shapes = PackedPolygons(ring.reshape(-1, 2), np.arange(200_001) * 4, np.arange(200_001))
    found = tiles(shapes, random.integers(0, 2, 200_000), (20000, 20000))
    tile = found.tile(found.grid.lowest, 0, 0)
    assert tile["count"] > 100_000
    assert len(json.dumps(tile)) < 1_500_000


def test_a_layer_without_shapes() -> None:
    empty = PackedPolygons(np.empty((0, 2)), np.zeros(1, np.int64), np.zeros(1, np.int64))
    assert tiles(empty).tile(12, 0, 0)["count"] == 0
