"""Finds the grid of places on which the coordinates of patches lie, and the row of a file for each place. numpy only.

Most programs cut a slide into patches on one grid. CLAM begins a grid of its own in each piece of tissue. Such patches
count for the nearest place of the most frequent grid, at most half a patch away.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fitcli.images.window import Window

Coordinates = NDArray[np.int64]
"""Upper left corners [n 2] of patches, (x, y) in level-0 pixels of the slide."""

MOST_ROWS, MOST_PLACES, FARTHEST = 1 << 22, 1 << 26, 1 << 40
"""Largest number of patches, of places with and without patches, and largest coordinate."""

MOST_DROPPED = 0.05
"""Largest share of patches that may be left out, because a patch of another piece of tissue has their place."""

MOST_OTHER = 0.2
"""Largest share of distances of neighbours that may be no multiple of the most frequent one."""

LEAST_BLOCKS, BLOCKS = 4, 0.02
"""Number of blocks of four patches, and their share of all patches, from which on a second distance is a second size.

Of a grid whose places are filled at random with probability p, at most p^4 (1 - p)^4 of the places, 0.8 % of the
patches, begin a block at twice the distance.
"""

ROUNDED = 0.02
"""Difference of a stated distance of patches from their own that rounding explains, as a share of it."""


class BadCoordinates(ValueError):
    """The coordinates of patches are no grid. The message says why, and what to do."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PlaceIndex:
    """The rows of a file by place.

    Attributes:
        height, width: Rows and columns of places.
        side: Distance of two places, in level-0 pixels of the slide.
        top, left: Corner of the first place.
        keys: Numbers of the places that have features [n], rising: row * width + column.
        rows: Row of the file for each of them.
        moved, dropped: See `FeatureGrid`.
    """

    height: int
    width: int
    side: int
    top: int
    left: int
    keys: NDArray[np.int32]
    rows: NDArray[np.int32]
    moved: int
    dropped: int

    @property
    def nbytes(self) -> int:
        """Bytes of the index."""
        return self.keys.nbytes + self.rows.nbytes

    def lookup(self, window: Window) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the places of a window that have features, and their rows in the file.

        Args:
            window: Window on the grid.

        Returns:
            Numbers of the places in the window [k] (row * width of the window + column), and rows of the file [k].
        """
        first = np.arange(window.top, window.bottom, dtype=np.int64) * self.width + window.left
        starts, stops = np.searchsorted(self.keys, first), np.searchsorted(self.keys, first + window.width)
        counts = stops - starts
        line = np.repeat(np.arange(window.height), counts)
        # The position of each in the index: its start, plus its number within its line.
        at = np.arange(int(counts.sum())) + np.repeat(starts - np.concatenate([[0], np.cumsum(counts)[:-1]]), counts)
        columns = self.keys[at].astype(np.int64) - first[line]
        return line * window.width + columns, self.rows[at].astype(np.int64)


def index_places(coordinates: Coordinates, stated: float | None) -> PlaceIndex:
    """Return the index of the grid on which patches lie.

    Args:
        coordinates: Corners of the patches.
        stated: Distance of two patches that the file states, in level-0 pixels; None if it states none.

    Raises:
        BadCoordinates: They are negative or too large, overlap, are of two sizes, or lie on no grid or a huge one.
    """
    if not len(coordinates):
        raise BadCoordinates("holds no patch; extract features of a slide with tissue")
    if len(coordinates) > MOST_ROWS:
        raise BadCoordinates(f"holds {len(coordinates):,} patches; fit reads at most {MOST_ROWS:,}")
    if int(coordinates.min()) < 0:
        row = int(np.flatnonzero((coordinates < 0).any(axis=1))[0])
        raise BadCoordinates(f"has the negative coordinates {_text(coordinates[row])} in row {row}; extract it again")
    if int(coordinates.max()) > FARTHEST:
        row = int(np.flatnonzero((coordinates > FARTHEST).any(axis=1))[0])
        raise BadCoordinates(f"has the coordinates {_text(coordinates[row])} in row {row}, beyond any slide")
    side = _side(coordinates, stated)
    places, corner, moved = _snapped(coordinates, side)
    width, height = (int(extent) + 1 for extent in places.max(axis=0))
    if height * width > MOST_PLACES:
        raise BadCoordinates(
            f"spreads {len(coordinates):,} patches of {side} pixels over a grid of {height:,} x {width:,} places; fit "
            f"reads at most {MOST_PLACES:,}, so check the coordinates"
        )
    keys, rows = _sorted_rows(coordinates, places[:, 1] * width + places[:, 0], moved)
    return PlaceIndex(
        height=height,
        width=width,
        side=side,
        top=corner[1],
        left=corner[0],
        keys=keys.astype(np.int32),
        rows=rows.astype(np.int32),
        moved=int(np.count_nonzero(moved)),
        dropped=len(coordinates) - len(keys),
    )


def _side(coordinates: Coordinates, stated: float | None) -> int:
    """Return the distance of two places: that of most neighbours in a line, or the common measure of all distances."""
    distances = np.concatenate([_distances(coordinates[:, 0], coordinates[:, 1]),
                                _distances(coordinates[:, 1], coordinates[:, 0])])  # fmt: skip
    if not distances.size:
        if stated is None:
            raise BadCoordinates(
                "states no patch size, and no two patches lie side by side; write the attribute patch_size_level0 of "
                "its dataset coords"
            )
        return max(1, round(stated))
    values, counts = np.unique(distances, return_counts=True)
    side = int(values[counts.argmax()])
    # Distances of patches in the same piece of tissue are multiples of the side; others are those across a gap.
    others = values % side != 0
    if counts[others].sum() > MOST_OTHER * counts.sum():
        # Of a few patches that are scattered over a grid, most may happen to be two or three places apart.
        if (common := int(np.gcd.reduce(values))) not in values:
            raise _two_sizes(side, int(values[others][counts[others].argmax()]))
        side = common
    values, counts = np.unique(_blocks(coordinates), return_counts=True)
    second_sizes = (values != side) & (counts >= max(LEAST_BLOCKS, BLOCKS * len(coordinates)))
    if second_sizes.any():
        raise _two_sizes(side, int(values[second_sizes][counts[second_sizes].argmax()]))
    if stated is not None and side < stated * (1 - ROUNDED):
        raise BadCoordinates(
            f"has patches of {stated:g} pixels at distances of {side}, so they overlap or come from two patch sizes; "
            "extract them again, or write the attribute overlap of its dataset coords"
        )
    return side


def _two_sizes(side: int, second: int) -> BadCoordinates:
    return BadCoordinates(
        f"has patches at distances of {side} and of {second} pixels, as of two patch sizes; extract all of them with "
        "one size"
    )


def _blocks(coordinates: Coordinates) -> NDArray[np.int64]:
    """Return the sides of the squares of four patches that are neighbours of each other in their lines.

    A patch size has such squares wherever its patches cover an area. In a grid of another size they are rare: three
    holes around a corner make none.
    """
    (right, width), (down, height) = (_next(coordinates[:, 1 - axis], coordinates[:, axis]) for axis in (0, 1))
    start = np.flatnonzero((width > 0) & (width == height))
    across, below, side = right[start], down[start], width[start]
    closed = (down[across] == right[below]) & (height[across] == side) & (width[below] == side)
    return np.asarray(side[closed])


def _next(lines: NDArray[np.int64], along: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the number of the next patch in the line of each patch, and its distance; 0 and 0 for the last one."""
    order = np.lexsort((along, lines))
    number, distance = np.zeros(len(lines), np.int64), np.zeros(len(lines), np.int64)
    same = np.diff(lines[order]) == 0
    number[order[:-1][same]] = order[1:][same]
    distance[order[:-1]] = np.where(same, np.diff(along[order]), 0)
    return number, distance


def _distances(lines: NDArray[np.int64], along: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the distances of neighbours in a line, those above 0."""
    order = np.lexsort((along, lines))
    steps: NDArray[np.int64] = np.diff(along[order])[np.diff(lines[order]) == 0]
    return np.asarray(steps[steps > 0])


def _snapped(coordinates: Coordinates, side: int) -> tuple[NDArray[np.int64], tuple[int, int], NDArray[np.bool_]]:
    """Return (column, row) of the place of each patch, the corner of place (0, 0), and which patches are off the grid.

    The corner may be negative where patches lie above or on the left of the first whole place.
    """
    places, corner, moved = np.empty_like(coordinates), [], np.zeros(len(coordinates), bool)
    for axis in (0, 1):
        residues = coordinates[:, axis] % side
        values, counts = np.unique(residues, return_counts=True)
        phase = int(values[counts.argmax()])
        numbers = np.floor_divide(2 * (coordinates[:, axis] - phase) + side, 2 * side)
        first = int(numbers.min())
        places[:, axis] = numbers - first
        corner.append(phase + first * side)
        moved |= residues != phase
    return places, (corner[0], corner[1]), moved


def _sorted_rows(
    coordinates: Coordinates, keys: NDArray[np.int64], moved: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the places in order, and the row of each: that of a patch on the grid, else the first.

    Raises:
        BadCoordinates: Two patches have the same coordinates, or too many have the same place.
    """
    order = np.lexsort((moved, keys))
    again = np.zeros(len(keys), bool)
    again[1:] = keys[order][1:] == keys[order][:-1]
    if not again.any():
        return keys[order], order
    equal = np.zeros(len(keys), bool)
    by_place = np.lexsort((coordinates[:, 0], coordinates[:, 1]))
    equal[1:] = (np.diff(coordinates[by_place], axis=0) == 0).all(axis=1)
    if equal.any():
        at = int(np.flatnonzero(equal)[0])
        one, other = sorted(by_place[at - 1 : at + 1].tolist())
        raise BadCoordinates(
            f"has the coordinates {_text(coordinates[one])} twice, in rows {one} and {other}; extract it again"
        )
    if (count := int(np.count_nonzero(again))) > MOST_DROPPED * len(keys):
        raise BadCoordinates(
            f"has {count} of {len(keys)} patches that overlap others by half and more; extract them without overlap"
        )
    return keys[order][~again], order[~again]


def _text(corner: NDArray[np.int64]) -> str:
    return f"({int(corner[0])}, {int(corner[1])})"
