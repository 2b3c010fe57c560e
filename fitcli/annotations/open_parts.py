"""Collects the edges of the connected parts of a class map until the parts end.

Edges are the horizontal borders of a part, rows of an int32 array [edges, 3]: (side, left, right). Left and right are
columns of corners. The side is 2 * line for an upper border and 2 * line + 1 for a lower one; line 0 is the upper
border of the map.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fitcli.annotations.components import connected_components
from fitcli.annotations.runs import UNTRACED, Cells, Edges, Flags, Numbers, Runs


@dataclass(frozen=True, slots=True)
class EndedParts:
    """Parts all of whose edges are known.

    Attributes:
        classes: Class number of each part. Parts without edges have not ended.
        edges: Edges [edges, 3] in any order.
        part: Part of each edge.
    """

    classes: Cells
    edges: Edges
    part: Numbers


class OpenParts:
    """The parts that reach into the last row so far, and their edges.

    Args:
        width: Cells in a row.
    """

    def __init__(self, width: int) -> None:
        self._last_row = np.full((1, width), UNTRACED, np.uint8)
        self._line = 0
        self._edges: list[list[Edges]] = []
        self._part_of_run: Numbers = np.full(1, -1)

    def add(self, rows: Cells) -> EndedParts:
        """Add the next rows of cells [rows, width], at least one. Return the parts that do not reach into the last row.

        After a row of `UNTRACED`, no part is open.
        """
        cells = np.concatenate([self._last_row, rows])
        runs = Runs(cells)
        part, count = self._connect(runs)
        edges, run = runs.edges(self._line)
        classes = np.zeros(count, np.uint8)
        classes[part] = runs.classes
        is_open = np.zeros(count, np.bool_)
        is_open[part[runs.last :]] = runs.classes[runs.last :] != UNTRACED
        ended = self._sort_out(edges, part[run], is_open, part[: len(self._part_of_run)])
        number = np.where(is_open, np.cumsum(is_open) - 1, -1)
        self._part_of_run = number[part[runs.last :]]
        self._last_row, self._line = cells[-1:].copy(), self._line + len(rows)
        return EndedParts(classes, *ended)

    def _connect(self, runs: Runs) -> tuple[Numbers, int]:
        """Return the number of the part of each run, and the number of parts."""
        # Runs of the first row are connected if they belong to the same open part.
        known = np.flatnonzero(self._part_of_run >= 0)
        first = np.zeros(len(self._edges), np.int64)
        first[self._part_of_run[known[::-1]]] = known[::-1]
        known = np.setdiff1d(known, first, assume_unique=True)
        lower, upper = runs.links()
        upper = np.concatenate([first[self._part_of_run[known]], upper])
        return connected_components(len(runs.classes), np.concatenate([known, lower]), upper)

    def _sort_out(self, edges: Edges, part: Numbers, is_open: Flags, old_parts: Numbers) -> tuple[Edges, Numbers]:
        """Keep the edges of open parts, return those of the others and their parts.

        Args:
            edges, part: New edges, and their parts.
            is_open: Whether each part is open.
            old_parts: Part of each run of the row before.
        """
        kept: dict[int, list[Edges]] = {number: [] for number in np.flatnonzero(is_open).tolist()}
        ended, owners = [edges[~is_open[part]]], [part[~is_open[part]]]
        now = np.zeros(len(self._edges), np.int64)
        now[self._part_of_run[self._part_of_run >= 0]] = old_parts[self._part_of_run >= 0]
        for number, pieces in zip(now.tolist(), self._edges, strict=True):
            if number not in kept:
                ended += pieces
                owners += [np.full(len(piece), number) for piece in pieces]
            elif len(kept[number]) < len(pieces):
                pieces += kept[number]
                kept[number] = pieces
            else:
                kept[number] += pieces
        is_kept = is_open[part]
        part, edges = part[is_kept], edges[is_kept]
        edges = edges[np.argsort(part, kind="stable")]
        numbers, counts = np.unique(part, return_counts=True)
        for number, end, count in zip(numbers.tolist(), np.cumsum(counts).tolist(), counts.tolist(), strict=True):
            # A copy: a view would keep the edges of all parts.
            kept[number].append(edges[end - count : end].copy())
        self._edges = list(kept.values())
        return np.concatenate(ended), np.concatenate(owners)
