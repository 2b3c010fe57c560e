"""Chains the edges of whole parts to rings, many parts at once."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fitcli.annotations.open_parts import EndedParts
from fitcli.annotations.runs import Edges, Numbers


@dataclass(frozen=True, slots=True)
class Polygon:
    """A polygon of one class, in pixels of level 0: the point (0, 0) is the upper left corner of the image.

    Attributes:
        number: Class number.
        rings: The outer ring, then the holes: arrays [points, 2] of (x, y), the first point repeated at the end. The
            outer ring turns from the x axis to the y axis, the holes turn the other way.
        area: Area in square pixels, without the holes.
    """

    number: int
    rings: tuple[NDArray[Any], ...]
    area: float


Corner = Callable[[NDArray[Any], NDArray[Any]], NDArray[Any]]
"""Maps columns and lines of corners of cells to pixel coordinates [points, 2] (x, y)."""


def trace_parts(parts: EndedParts, corner: Corner, min_area: float) -> Iterator[Polygon]:
    """Give the polygons of parts in the order of their last line, then of their first edge."""
    if not len(parts.edges):
        return
    # Both kinds of edges are in reading order, so that this key is nearly sorted.
    place = parts.edges[:, 0].astype(np.int64) * int(parts.edges[:, 2].max()) + parts.edges[:, 1]
    order = np.lexsort((place, parts.part))
    edges, part = parts.edges[order], parts.part[order]
    first = np.flatnonzero(np.diff(part, prepend=-1))
    areas = _areas(edges, first, corner)
    large = np.flatnonzero(areas >= min_area)
    if not len(large):
        return
    lengths = np.diff(first, append=len(part))
    if len(large) < len(first):
        keep = np.repeat(areas >= min_area, lengths)
        edges, part = edges[keep], part[keep]
        lengths, areas = lengths[large], areas[large]
        first = np.cumsum(lengths) - lengths
    order, ring_starts = ring_order(next_edges(edges, np.repeat(np.arange(len(first)), lengths)))
    points, point_starts = _points(edges, order, ring_starts, corner)
    rings = [points[start:end] for start, end in pairwise([*point_starts.tolist(), len(points)])]
    # Rings begin with their first edge, so they are sorted by part.
    of_part = np.searchsorted(order[ring_starts], np.append(first, len(edges))).tolist()
    ends = first + lengths - 1
    sequence = np.lexsort((edges[first, 1], edges[first, 0], edges[ends, 0]))
    classes = parts.classes[part[first]].tolist()
    area_list = areas.tolist()
    for index in sequence.tolist():
        yield Polygon(classes[index], tuple(rings[of_part[index] : of_part[index + 1]]), area_list[index])


def next_edges(edges: Edges, part: Numbers) -> Numbers:
    """Return the edge that follows each edge on its ring, with the part on its right when y points down.

    Vertical borders of a part join its corners in a column in pairs, from top to bottom. Where two cells of the part
    touch at a corner alone, this point is there twice: its upper border comes first, so that the rings are simple.

    Args:
        edges: Edges, ascending by part, side, and left.
        part: Part of each edge, from 0.
    """
    width = int(edges[:, 2].max()) + 1
    # Corners of edge e: 2 e at the left, 2 e + 1 at the right.
    column = edges[:, 1:].reshape(-1).astype(np.int64)
    place = np.argsort(np.repeat(part * width, 2) + column, kind="stable")
    mate = np.empty_like(place)
    mate[place[0::2]], mate[place[1::2]] = place[1::2], place[0::2]
    is_upper = edges[:, 0] % 2 == 0
    following: Numbers = mate[2 * np.arange(len(edges)) + is_upper] // 2
    return following


def ring_order(following: Numbers) -> tuple[Numbers, Numbers]:
    """Return the edges ring by ring, each from its first edge, and where each ring starts."""
    # Python's integers in a list would take five times the memory.
    rest, order, starts = array("i", following.astype(np.intc).tobytes()), array("i"), array("i")
    for edge in range(len(rest)):
        after = rest[edge]
        if after >= 0:
            starts.append(len(order))
        while after >= 0:
            order.append(edge)
            rest[edge] = -1
            edge, after = after, rest[after]
    return np.array(order, np.int64), np.array(starts, np.int64)


def _areas(edges: Edges, first: Numbers, corner: Corner) -> NDArray[Any]:
    left, right = corner(edges[:, 1], edges[:, 0] // 2), corner(edges[:, 2], edges[:, 0] // 2)
    below = (right[:, 0] - left[:, 0]) * right[:, 1]
    areas: NDArray[Any] = np.add.reduceat(np.where(edges[:, 0] % 2 == 0, -below, below), first)
    return areas


def _points(edges: Edges, order: Numbers, starts: Numbers, corner: Corner) -> tuple[NDArray[Any], Numbers]:
    """Return the points of all closed rings one after the other, and where each ring starts."""
    lengths = np.diff(starts, append=len(order))
    edges = edges[order]
    is_upper = edges[:, 0] % 2 == 0
    line = np.repeat(edges[:, 0] // 2, 2)
    columns = np.where(is_upper[:, None], edges[:, 1:], edges[:, :0:-1]).reshape(-1)
    open_points = corner(columns, line)
    point_starts = 2 * starts + np.arange(len(starts))
    points = np.empty((len(open_points) + len(starts), 2), open_points.dtype)
    is_end = np.zeros(len(points), np.bool_)
    is_end[point_starts + 2 * lengths] = True
    points[~is_end] = open_points
    points[is_end] = points[point_starts]
    return points, point_starts
