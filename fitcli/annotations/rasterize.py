"""Fills polygons: which pixels of a window lie in which polygon. A pixel does if its middle does.

The rule is even-odd: a point lies in a polygon if a line from it to infinity crosses the rings of the polygon an odd
number of times. So holes stay open, and where a ring crosses itself, what it encloses twice is outside. A middle
exactly on an edge belongs to a polygon on its left and to one below it; that is GDAL's rule, pixel for pixel.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fitcli.annotations.affine_map import Floats
from fitcli.annotations.packed_polygons import Numbers, PackedPolygons, concatenated_ranges
from fitcli.images.window import Window

BATCH = 1 << 14
"""Crossings that are computed, and runs that are painted, at a time: small arrays stay in the cache."""

SHORT = 64
"""Greatest mean length of spans that are painted pixel by pixel."""

BAND = 1 << 18
"""Pixels of the rows that are filled at a time."""


class Edges(NamedTuple):
    """Edges [e] that are not horizontal, polygon by polygon. `low` is the end with the smaller y."""

    polygon: Numbers
    low_x: Floats
    low_y: Floats
    high_x: Floats
    high_y: Floats

    def part(self, which: slice | Numbers) -> Edges:
        low_x, low_y, high_x, high_y = (field[which] for field in self[1:])
        return Edges(self.polygon[which], low_x, low_y, high_x, high_y)


class Spans(NamedTuple):
    """Pixels `start` to `stop - 1` of a window, counted row by row, that lie in a polygon [s]; polygon by polygon."""

    polygon: Numbers
    start: Numbers
    stop: Numbers

    def part(self, which: slice | Numbers | NDArray[np.bool_]) -> Spans:
        return Spans(self.polygon[which], self.start[which], self.stop[which])


def rasterize(
    polygons: PackedPolygons, values: NDArray[np.uint8], window: Window, fill: int, mirrored: bool = False
) -> NDArray[np.uint8]:
    """Paint polygons in their order, so that a later one covers an earlier one.

    Every pixel follows from its place alone: windows fit together without a seam.

    Args:
        polygons: Polygons in pixels: x to the right, y downwards; pixel (0, 0) has its middle at (0.5, 0.5).
            Coordinates are at most 1e100.
        values: Value of each polygon.
        window: Window to paint.
        fill: Value of pixels in no polygon.
        mirrored: Whether the polygons come from coordinates whose y points upwards. GDAL finds the direction of a ring
            there, which decides pixels whose middles lie exactly on a horizontal edge.

    Returns:
        Array [height width].
    """
    pixels = np.full((window.height, window.width), fill, np.uint8)
    if window.area == 0 or not len(polygons):
        return pixels
    edges, flat = _edges(polygons)
    rows = max(1, BAND // window.width)
    for top in range(window.top, window.bottom, rows):
        band = Window(top, window.left, min(rows, window.bottom - top), window.width)
        canvas = pixels[top - window.top :][: band.height].reshape(-1)
        extra = _horizontal_spans(polygons, flat, band, mirrored)
        for spans in _spans(edges, band):
            if len(extra.polygon) and len(spans.polygon):
                mine = int(np.searchsorted(extra.polygon, spans.polygon[-1], side="right"))
                spans, extra = _merged(spans, extra.part(slice(mine))), extra.part(slice(mine, None))
            _paint(canvas, spans, values)
        _paint(canvas, extra, values)
    return pixels


def _edges(polygons: PackedPolygons) -> tuple[Edges, Numbers]:
    """Return the edges, and the indices of the first points of horizontal ones."""
    # The last point of a ring begins no edge.
    begins = np.ones(max(len(polygons.points) - 1, 0), np.bool_)
    begins[polygons.ring_starts[1:-1] - 1] = False
    x, y = np.ascontiguousarray(polygons.points[:, 0]), np.ascontiguousarray(polygons.points[:, 1])
    down, up = y[1:] > y[:-1], y[1:] < y[:-1]
    first = np.flatnonzero(begins & (down | up))
    low, high = first + up[first], first + down[first]
    polygon = np.repeat(np.arange(len(polygons)), np.diff(polygons.point_starts))[first]
    return Edges(polygon, x[low], y[low], x[high], y[high]), np.flatnonzero(begins & ~(down | up))


def _spans(edges: Edges, window: Window) -> Iterator[Spans]:
    """Yield the spans of all polygons, batch by batch."""
    # A row is crossed if its middle is at or below the upper end, and above the lower end.
    first = np.ceil(edges.low_y - 0.5).clip(window.top, window.bottom).astype(np.int64)
    stop = np.ceil(edges.high_y - 0.5).clip(window.top, window.bottom).astype(np.int64)
    crossing = np.flatnonzero(first < stop)
    edges = edges.part(crossing)
    first, stop = first[crossing], stop[crossing]
    total = np.cumsum(stop - first)
    begin = 0
    while begin < len(total):
        done = int(total[begin - 1]) if begin else 0
        end = int(np.searchsorted(total, done + BATCH, side="right"))
        if end < len(total):
            # A batch ends where a polygon ends.
            end = int(np.searchsorted(edges.polygon, edges.polygon[end]))
        if end > begin:
            part = slice(begin, end)
            columns = _columns(edges.part(part), first[part], stop[part], window)
            yield _paired(*columns, window)
        else:
            end = int(np.searchsorted(edges.polygon, edges.polygon[begin], side="right"))
            part = slice(begin, end)
            yield _counted(edges.part(part), first[part], stop[part], window)
        begin = end


def _columns(edges: Edges, first: Numbers, stop: Numbers, window: Window) -> tuple[Numbers, Numbers, Numbers]:
    """Return polygon, row and column of each crossing of an edge and the middle of a row, within the window.

    The column is that of the first pixel whose middle lies right of the crossing.
    """
    edge = np.repeat(np.arange(len(first)), stop - first)
    row = concatenated_ranges(first, stop)
    polygon, low_x, low_y, high_x, high_y = edges.part(edge)
    x = (row + 0.5 - low_y) * (high_x - low_x) / (high_y - low_y) + low_x
    column = np.floor(x + 0.5).clip(window.left, window.right).astype(np.int64)
    return polygon, row - window.top, column - window.left


def _paired(polygon: Numbers, row: Numbers, column: Numbers, window: Window) -> Spans:
    """Return the spans between the first and second crossing of a row, the third and fourth, and so on."""
    # A closed ring crosses a row an even number of times, so pairs never mix rows.
    key = (polygon * window.height + row) * (window.width + 1) + column
    if len(key) and (polygon[-1] + 1) * window.height * (window.width + 1) < 1 << 31:
        key = key.astype(np.int32)  # sorts in half the time
    key.sort()
    line, column = np.divmod(key, window.width + 1)
    polygon, row = np.divmod(line[::2], window.height)
    place = row.astype(np.int64) * window.width
    spans = Spans(polygon.astype(np.int64), place + column[::2], place + column[1::2])
    return spans.part(spans.start < spans.stop)


def _counted(edges: Edges, first: Numbers, stop: Numbers, window: Window) -> Spans:
    """Return the spans of one polygon with too many crossings to sort: counts them per pixel."""
    width = window.width + 1
    # Counts may wrap around: only whether they are odd matters.
    counts = np.zeros(window.height * width, np.uint8)
    for part in _stretches(stop - first, BATCH):
        _, row, column = _columns(edges.part(part), first[part], stop[part], window)
        np.add.at(counts, row * width + column, np.uint8(1))
    inside = np.bitwise_xor.accumulate((counts & 1).reshape(window.height, width), axis=1)[:, :-1]
    # Each row ends outside, so that a change is the start or the stop of a span.
    framed = np.zeros((window.height, window.width + 2), np.uint8)
    framed[:, 1:-1] = inside
    row, column = np.nonzero(framed[:, 1:] != framed[:, :-1])
    place = row * window.width + column
    return Spans(np.full(len(place) // 2, edges.polygon[0]), place[::2], place[1::2])


def _horizontal_spans(polygons: PackedPolygons, flat: Numbers, window: Window, mirrored: bool) -> Spans:
    """Return the pixels whose middles lie on horizontal edges that GDAL fills: those that lead to the left.

    Rings are taken clockwise for this, holes too, as GDAL turns them.
    """
    y = polygons.points[flat, 1]
    row = np.floor(y)
    flat = flat[(y - row == 0.5) & (row >= window.top) & (row < window.bottom)]
    ring = np.searchsorted(polygons.ring_starts, flat, side="right") - 1
    turned = {each: _is_turned(polygons, each, mirrored) for each in np.unique(ring).tolist()}
    backwards = np.array([turned[each] for each in ring.tolist()], np.bool_)
    begin, end = polygons.points[flat, 0], polygons.points[flat + 1, 0]
    leftwards = np.where(backwards, begin < end, begin > end)
    flat, ring = flat[leftwards], ring[leftwards]
    columns = np.floor(np.stack([begin, end])[:, leftwards] + 0.5).clip(window.left, window.right).astype(np.int64)
    columns.sort(axis=0)
    place = (np.floor(polygons.points[flat, 1]).astype(np.int64) - window.top) * window.width - window.left
    owner = np.searchsorted(polygons.polygon_starts, ring, side="right") - 1
    return Spans(owner, place + columns[0], place + columns[1])


def _is_turned(polygons: PackedPolygons, ring: int, mirrored: bool) -> bool:
    """Return whether a ring is counterclockwise, as the turn at its lowest, there rightmost point tells."""
    points = polygons.points[polygons.ring_starts[ring] : polygons.ring_starts[ring + 1] - 1]
    x, y = points[:, 0], -points[:, 1] if mirrored else points[:, 1]
    lowest = np.flatnonzero(y == y.min())
    pivot = int(lowest[np.argmax(x[lowest])])
    before, after = points[pivot - 1], points[(pivot + 1) % len(points)]
    (ax, ay), (bx, by) = before - points[pivot], after - points[pivot]
    turn = float(ax * by - ay * bx)
    repeated = np.count_nonzero((points == points[pivot]).all(axis=1)) > 1
    if turn == 0 or repeated:
        turn = -float(np.sum(x * np.roll(points[:, 1], -1) - np.roll(x, -1) * points[:, 1]))
    return bool(turn > 0) if mirrored else bool(turn < 0)


def _merged(spans: Spans, extra: Spans) -> Spans:
    """Return the spans of both, polygon by polygon."""
    both = Spans(*(np.concatenate(pair) for pair in zip(spans, extra, strict=True)))
    return both.part(np.argsort(both.polygon, kind="stable"))


def _paint(canvas: NDArray[np.uint8], spans: Spans, values: NDArray[np.uint8]) -> None:
    """Paint spans in the order of their polygons."""
    lengths = spans.stop - spans.start
    covered = int(lengths.sum())
    if covered > min(SHORT * len(lengths), len(canvas)):
        _paint_runs(canvas, spans, values)
        return
    colors = values[spans.polygon]
    for part in _stretches(lengths, BATCH):
        # Of several values for one pixel, the last one stays.
        canvas[concatenated_ranges(spans.start[part], spans.stop[part])] = np.repeat(colors[part], lengths[part])


def _paint_runs(canvas: NDArray[np.uint8], spans: Spans, values: NDArray[np.uint8]) -> None:
    """Paint long spans, or many on top of each other, in the order of their polygons.

    The ends of all spans cut the canvas into runs of equal pixels, which are far fewer than pixels.
    """
    left, right = int(spans.start.min()), int(spans.stop.max())
    start, stop = spans.start - left, spans.stop - left
    is_cut = np.zeros(right - left + 1, np.bool_)
    is_cut[start] = is_cut[stop] = True
    cuts = np.flatnonzero(is_cut)
    run_at = np.empty(len(is_cut), np.int32)
    run_at[cuts] = np.arange(len(cuts))
    first, last = run_at[start].astype(np.int64), run_at[stop].astype(np.int64)
    painted, inside = np.zeros(len(cuts) - 1, np.uint8), np.zeros(len(cuts) - 1, np.bool_)
    colors, lengths = values[spans.polygon], last - first
    for part in _stretches(lengths, BATCH):
        runs = concatenated_ranges(first[part], last[part])
        # Of several values for one run, the last one stays.
        painted[runs] = np.repeat(colors[part], lengths[part])
        inside[runs] = True
    widths = np.diff(cuts)
    np.copyto(canvas[left:right], np.repeat(painted, widths), where=np.repeat(inside, widths))


def _stretches(lengths: Numbers, most: int) -> Iterator[slice]:
    """Yield slices of at least one item whose lengths sum to at most `most`, if none is longer."""
    ends = np.cumsum(lengths)
    begin = 0
    while begin < len(ends):
        done = int(ends[begin - 1]) if begin else 0
        end = max(begin + 1, int(np.searchsorted(ends, done + most, side="right")))
        yield slice(begin, end)
        begin = end
