"""The places of patches: the grid is found, and coordinates that are no grid are refused."""

from __future__ import annotations

import time
import tracemalloc
from typing import Any

import numpy as np
import pytest
from support.slides import SIDE, places, some_places

from fitcli.images.features.place_index import BadCoordinates, PlaceIndex, index_places
from fitcli.images.window import Window


def slow_lookup(index: PlaceIndex, window: Window) -> dict[int, int]:
    found = {}
    for key, row in zip(index.keys.tolist(), index.rows.tolist(), strict=True):
        y, x = divmod(key, index.width)
        if window.top <= y < window.bottom and window.left <= x < window.right:
            found[(y - window.top) * window.width + x - window.left] = row
    return found


def test_rows_are_found_by_place() -> None:
    coordinates = some_places(30, 25)
    index = index_places(coordinates, float(SIDE))
    assert (index.side, index.moved, index.dropped) == (SIDE, 0, 0)
    assert index.left == coordinates[:, 0].min()
    assert index.top == coordinates[:, 1].min()
    for window in (
        Window(0, 0, index.height, index.width), Window(3, 4, 5, 6), Window(29, 24, 1, 1), Window(0, 7, 30, 1),
    ):  # fmt: skip
        window = window.clip(index.height, index.width)
        at, rows = index.lookup(window)
        assert dict(zip(at.tolist(), rows.tolist(), strict=True)) == slow_lookup(index, window)
    for row in range(len(coordinates)):
        x, y = (coordinates[row] - (index.left, index.top)) // SIDE
        assert index.lookup(Window(int(y), int(x), 1, 1))[1].tolist() == [row]


@pytest.mark.parametrize("stated", [None, 512.0, 511.0, 100.0])
def test_the_distance_is_that_of_neighbours(stated: float | None) -> None:
    assert index_places(some_places(), stated).side == SIDE


@pytest.mark.parametrize("share", [0.1, 0.2, 0.3, 0.5, 0.7, 0.9])
def test_a_grid_with_holes_is_of_one_size(share: float) -> None:
    for seed in range(8):
        for rows in (15, 40):
            assert index_places(some_places(rows, rows, share, seed), None).side == SIDE


def test_a_single_patch_has_the_size_that_is_stated() -> None:
    index = index_places(np.array([[700, 900]]), 256.0)
    assert (index.height, index.width, index.side, index.left, index.top) == (1, 1, 256, 700, 900)


def test_pieces_of_tissue_with_grids_of_their_own_are_moved_to_the_nearest_place() -> None:
    # As CLAM writes them: the second piece begins 100 pixels to the right and 30 below a place.
    first, second = places(10, 8), moved(places(4, 4, top=3, left=14), 100, 30)
    index = index_places(np.concatenate([first, second]), None)
    assert (index.height, index.width) == (10, 15)
    assert (index.moved, index.dropped) == (len(second), 0)
    at, rows = index.lookup(Window(1, 11, 4, 4))
    assert rows[np.argsort(at)].tolist() == list(range(len(first), len(first) + len(second)))


def test_a_few_patches_at_taken_places_are_left_out() -> None:
    index = index_places(np.concatenate([places(10, 10), moved(places(1, 3, top=5, left=6), 90, 0)]), None)
    assert (index.height, index.width, index.moved, index.dropped) == (10, 10, 3, 3)
    assert sorted(index.rows.tolist()) == list(range(100))


def moved(coordinates: Any, right: int, down: int) -> Any:
    return coordinates + np.array([right, down])


def far_apart() -> Any:
    return np.concatenate([places(2, 2), places(1, 1, top=10**5, left=10**5)])


BAD: dict[str, tuple[Any, str]] = {
    "none": (np.zeros((0, 2), np.int64), "holds no patch"),
    "negative": (places(3, 3) - (3 * SIDE, 4 * SIDE), r"negative coordinates \(0, -1024\) in row 0"),
    "huge": (np.array([[0, 0], [512, 0], [2**41, 0]]), "beyond any slide"),
    "a grid of 10^10 places": (far_apart(), "over a grid of 99,999 x 99,998 places; fit reads at most 67,108,864"),
    "twice": (np.concatenate([places(4, 4), places(1, 1, top=3, left=4)]), r"\(2048, 1536\) twice, in rows 5 and 16"),
    "overlapping": (places(8, 8, side=128), "patches of 512 pixels at distances of 128, so they overlap"),
    "two sizes": (
        np.concatenate([places(6, 6), places(6, 6, top=50, left=50, side=300)]),
        "at distances of 300 and of 512 pixels, as of two patch sizes",
    ),
    "two sizes, one twice the other": (
        np.concatenate([places(6, 6), places(6, 6, top=50, left=50, side=256)]),
        "at distances of 256 and of 512 pixels, as of two patch sizes",
    ),
    "a few of two sizes, in lines of the others": (
        np.concatenate([places(20, 20), places(4, 4, top=1, left=12, side=1024)]),
        "at distances of 512 and of 1024 pixels, as of two patch sizes",
    ),
    "a few of two sizes, beside each other": (
        np.concatenate([places(16, 16), places(5, 4, top=2, left=30, side=448)]),
        "at distances of 512 and of 448 pixels, as of two patch sizes",
    ),
    "shifted by less than half": (
        np.concatenate([places(6, 6), moved(places(4, 4, top=3, left=4), 100, 30)]),
        "16 of 52 patches that overlap others",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_coordinates_that_are_no_grid_are_refused(name: str) -> None:
    coordinates, message = BAD[name]
    stated = None if "shifted" in name or "two" in name else 512.0
    with pytest.raises(BadCoordinates, match=message) as caught:
        index_places(coordinates, stated)
    assert "\n" not in str(caught.value)


def test_no_size_and_no_neighbours() -> None:
    with pytest.raises(BadCoordinates, match="write the attribute patch_size_level0"):
        index_places(np.array([[0, 0], [700, 900]]), None)


def test_a_million_patches_take_bounded_memory_and_time() -> None:
    coordinates = np.random.default_rng(0).permutation(places(1000, 1000))
    tracemalloc.start()
    began = time.process_time()
    index = index_places(coordinates, 512.0)
    seconds = time.process_time() - began
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert index.nbytes == 8_000_000
    assert peak < 250e6
    assert seconds < 20
