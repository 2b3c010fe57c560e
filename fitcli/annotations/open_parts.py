"""Collects the edges of the connected parts of a class map until the parts end.

Edges are the horizontal borders of a part, rows of an int32 array [edges, 3]: (side, left, right). Left and right are
columns of corners. The side is 2 * line for an upper border and 2 * line + 1 for a lower one; line 0 is the upper
border of the map.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

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
        is_kept = is_open[part]
        order = np.flatnonzero(~is_kept)
        ended, owners = [edges.take(order, axis=0)], [part[order]]
        kept: dict[int, list[Edges]] = {number: [] for number in np.flatnonzero(is_open).tolist()}
        for number, pieces in zip(self._parts_now(old_parts), self._edges, strict=True):
            if number not in kept:
                ended += pieces
                owners += [np.full(len(piece), number) for piece in pieces]
            elif len(kept[number]) < len(pieces):
                pieces += kept[number]
                kept[number] = pieces
            else:
                kept[number] += pieces
        order = np.flatnonzero(is_kept)
        order = order[np.argsort(part[order], kind="stable")]
        starts = np.flatnonzero(np.diff(part[order], prepend=-1))
        for start, end in pairwise([*starts.tolist(), len(order)]):
            # A copy of its own: a view would keep the edges of all parts in memory.
            kept[int(part[order[start]])].append(edges.take(order[start:end], axis=0))
        self._edges = list(kept.values())
        return np.concatenate(ended), np.concatenate(owners)

    def _parts_now(self, old_parts: Numbers) -> list[int]:
        """Return the new number of each open part."""
        now = np.zeros(len(self._edges), np.int64)
        is_open = self._part_of_run >= 0
        now[self._part_of_run[is_open]] = old_parts[is_open]
        return now.tolist()
