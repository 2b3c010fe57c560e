"""Runs of a small map, written out."""

from __future__ import annotations

import numpy as np

from fitcli.annotations.runs import Runs

CELLS = np.array([[255, 255, 255, 255], [1, 1, 2, 255], [1, 2, 2, 2], [255, 255, 255, 255]], np.uint8)


def test_runs_and_links() -> None:
    runs = Runs(CELLS)
    assert runs.classes.tolist() == [255, 1, 2, 255, 1, 2, 255]
    assert runs.last == 6
    lower, upper = runs.links()
    assert list(zip(lower.tolist(), upper.tolist(), strict=True)) == [(4, 1), (5, 2)]


def test_edges_are_the_borders_of_parts() -> None:
    edges, run = Runs(CELLS).edges(10)
    assert {(*edge, number) for edge, number in zip(edges.tolist(), run.tolist(), strict=True)} == {
        # Upper sides have even numbers, 2 * line.
        (20, 0, 2, 1),
        (20, 2, 3, 2),
        (22, 1, 2, 5),
        (22, 3, 4, 5),
        (23, 1, 2, 1),
        (25, 0, 1, 4),
        (25, 1, 4, 5),
    }
