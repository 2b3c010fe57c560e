"""Traced polygons are valid, cover exactly the map, and do not depend on the strips."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.class_maps import MAPS, Map, blobs, comb, comparable, drawn, traced

from fitcli.annotations import trace
from fitcli.annotations.trace import Tracer, trace_map


def check(cells: Map) -> None:
    """Check the rules of validity without another library, and that the map can be drawn again."""
    polygons = list(trace_map(cells))
    assert np.array_equal(drawn(polygons, cells.shape), cells)
    for polygon in polygons:
        areas = []
        for ring in polygon.rings:
            assert ring[0].tolist() == ring[-1].tolist()
            steps = np.diff(ring, axis=0)
            # Vertical and horizontal sides take turns: there is no point on a straight line, and no side of length 0.
            assert ((steps != 0).sum(axis=1) == 1).all()
            assert (np.diff((steps[:, 0] != 0).astype(int), append=int(steps[0, 0] != 0)) != 0).all()
            # A ring that touches itself would have a point twice.
            assert len(np.unique(ring[:-1], axis=0)) == len(ring) - 1
            areas.append(int((ring[:-1, 0] * ring[1:, 1] - ring[1:, 0] * ring[:-1, 1]).sum()) // 2)
        # The outer ring and the holes turn opposite ways.
        assert areas[0] > 0
        assert all(area < 0 for area in areas[1:])
        assert sum(areas) == polygon.area
    rows = [int(polygon.rings[0][:, 1].max()) for polygon in polygons]
    assert rows == sorted(rows)


@pytest.mark.parametrize("name", MAPS)
def test_polygons_are_the_map(name: str) -> None:
    check(MAPS[name]())


@pytest.mark.walk
@pytest.mark.parametrize("name", MAPS)
def test_the_heights_of_strips_do_not_matter(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = MAPS[name]()
    whole = comparable(traced(cells, max(1, len(cells))))
    for step in (1, 2, 3, 7):
        assert comparable(traced(cells, step)) == whole
    # A strip is cut where it has many cells.
    monkeypatch.setattr(trace, "CELLS_AT_ONCE", 1)
    assert comparable(trace_map(cells)) == whole


@given(st.data())
def test_any_small_map(data: st.DataObject) -> None:
    height, width = data.draw(st.integers(1, 7)), data.draw(st.integers(1, 7))
    values = data.draw(st.lists(st.sampled_from([0, 1, 255]), min_size=height * width, max_size=height * width))
    cells = np.array(values, np.uint8).reshape(height, width)
    check(cells)
    assert comparable(traced(cells, data.draw(st.integers(1, 7)))) == comparable(trace_map(cells))


@pytest.mark.parametrize("name", MAPS)
def test_shapely_and_rasterio_agree(name: str) -> None:
    shapely = pytest.importorskip("shapely", reason="shapely is not installed (extra dev)")
    features = pytest.importorskip("rasterio.features", reason="rasterio is not installed (extra dev)")
    cells = MAPS[name]()
    polygons = list(trace_map(cells))
    shapes = [shapely.Polygon(polygon.rings[0], polygon.rings[1:]) for polygon in polygons]
    assert all(shape.is_valid for shape in shapes)
    assert [shape.area for shape in shapes] == [polygon.area for polygon in polygons]
    assert shapely.union_all(shapes).area == (cells != 255).sum()
    if cells.size == 0:
        return
    burnt = [(shape, polygon.number) for shape, polygon in zip(shapes, polygons, strict=True)]
    if burnt:
        assert np.array_equal(features.rasterize(burnt, cells.shape, fill=255, dtype="uint8"), cells)
    theirs = [
        (int(number), shapely.geometry.shape(shape).normalize().wkb)
        for shape, number in features.shapes(cells, mask=cells != 255, connectivity=4)
    ]
    ours = [(polygon.number, shape.normalize().wkb) for shape, polygon in zip(shapes, polygons, strict=True)]
    assert sorted(ours) == sorted(theirs)


def test_a_part_comes_when_its_last_row_has_passed() -> None:
    cells = np.full((6, 4), 255, np.uint8)
    cells[1:3, 1] = 1
    tracer = Tracer(4)
    assert [len(list(tracer.add(cells[row : row + 1]))) for row in range(6)] == [0, 0, 0, 1, 0, 0]
    assert not list(tracer.finish())


def test_classes_and_small_parts_are_left_out() -> None:
    cells = np.array([[0, 1, 1], [2, 0, 0], [2, 3, 0]], np.uint8)
    assert [polygon.number for polygon in trace_map(cells, untraced=[0, 2])] == [1, 3]
    # Where they touch at a corner, two parts of one class stay two.
    assert [(polygon.number, polygon.area) for polygon in trace_map(cells, min_area=2)] == [(1, 2), (2, 2), (0, 3)]
    assert not list(trace_map(cells, min_area=4))
    # In pixels: those that are cut off by the border do not count.
    assert [polygon.area for polygon in trace_map(cells, scale=2, size=(5, 6), min_area=8)] == [8, 10]


@pytest.mark.parametrize(("scale", "size"), [(4, (45, 58)), (4, (48, 60)), (2.5, (29, 36)), (0.5, None), (1, None)])
def test_cells_are_scaled_and_end_at_the_border(scale: float, size: tuple[int, int] | None) -> None:
    cells = comb(12, 15, True)
    plain, scaled = list(trace_map(cells)), list(trace_map(cells, scale=scale, size=size))
    border = np.array(size[::-1] if size else (15 * scale, 12 * scale))
    for one, other in zip(plain, scaled, strict=True):
        for ring, larger in zip(one.rings, other.rings, strict=True):
            assert np.array_equal(np.minimum(ring * scale, border), larger)
            assert larger.dtype.kind == ("i" if float(scale).is_integer() else "f")
    assert sum(polygon.area for polygon in scaled) == border.prod()


@pytest.mark.parametrize(
    ("options", "strip"),
    [
        ({"width": 0}, None),
        ({"width": 3, "scale": 0}, None),
        ({"width": 3, "scale": float("nan")}, None),
        ({"width": 3, "size": (0, 3)}, None),
        ({"width": 3, "scale": 4, "size": (8, 8)}, None),
        ({"width": 3}, np.zeros((2, 4), np.uint8)),
        ({"width": 3}, np.zeros((2, 3), np.int64)),
        ({"width": 3}, np.zeros(3, np.uint8)),
        ({"width": 3, "scale": 4, "size": (8, 10)}, np.zeros((3, 3), np.uint8)),
    ],
)
def test_what_does_not_fit_is_refused(options: dict[str, Any], strip: Any) -> None:
    with pytest.raises(ValueError, match=r"columns|width|too many"):
        list(Tracer(**options).add(strip))


def peak_bytes(piece: Map, repeats: int, rows: int = 64) -> int:
    """Largest memory while a map that repeats a piece is traced, and its polygons are dropped."""
    tracer = Tracer(piece.shape[1])
    tracemalloc.start()
    try:
        for _ in range(repeats):
            for first in range(0, len(piece), rows):
                for _ in tracer.add(piece[first : first + rows]):
                    pass
        for _ in tracer.finish():
            pass
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def framed(cells: Map) -> Map:
    """Cut a map into parts of at most 50 rows by rows without a class."""
    cells = cells.copy()
    cells[49::50] = 255
    return cells


PIECE = framed(blobs(500, 200, 8))


def test_memory_does_not_grow_with_the_rows() -> None:
    few, many = peak_bytes(PIECE, 4), peak_bytes(PIECE, 40)
    assert many < 1.1 * few
    # 20,000 rows of 200 cells.
    assert many < 4e6


def test_an_open_part_keeps_its_edges_alone() -> None:
    """Ladders that grow down the map are open until its end. All else about them is dropped."""
    ladders = np.full((4000, 60), 255, np.uint8)
    ladders[:, 0::6] = ladders[:, 2::6] = ladders[::2, 1::6] = 1
    tracer = Tracer(60)
    tracemalloc.start()
    try:
        for first in range(0, 4000, 64):
            assert not list(tracer.add(ladders[first : first + 64]))
        kept = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    # Two edges per rung and ladder, 12 bytes each.
    assert kept < 1.5 * 12 * 2 * 2000 * 10
