"""Filling polygons: each pixel as a plain count of crossings says, and as rasterio fills it."""

from __future__ import annotations

import tracemalloc
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from support.polygons import Ring, geometry, packed, square

from fitcli.annotations import rasterize as module
from fitcli.annotations.rasterize import rasterize
from fitcli.images.window import Window

Polygons = Sequence[Sequence[Ring]]


def star(random: np.random.Generator, x: float, y: float, radius: float, points: int) -> Ring:
    angles = np.sort(random.uniform(0, 2 * np.pi, points))
    radii = radius * random.uniform(0.5, 1, points)
    return [(float(a), float(b)) for a, b in zip(x + radii * np.cos(angles), y + radii * np.sin(angles), strict=True)]


def counted(polygons: Polygons, values: Sequence[int], window: Window, fill: int) -> NDArray[np.uint8]:
    """Count the crossings of a line from the middle of each pixel to the left."""
    pixels = np.full((window.height, window.width), fill, np.uint8)
    y = np.arange(window.top, window.bottom)[:, None] + 0.5
    x = np.arange(window.left, window.right) + 0.5
    for polygon, value in zip(polygons, values, strict=True):
        crossings = np.zeros(pixels.shape, int)
        for ring in polygon:
            for (ax, ay), (bx, by) in zip(ring, [*ring[1:], ring[0]], strict=True):
                if ay != by:
                    crossings += (min(ay, by) <= y) & (y < max(ay, by)) & (ax + (y - ay) * (bx - ax) / (by - ay) < x)
        pixels[crossings % 2 == 1] = value
    return pixels


def by_rasterio(
    polygons: Polygons, values: Sequence[int], window: Window, fill: int, upwards: bool = False
) -> NDArray[np.uint8]:
    features: Any = pytest.importorskip("rasterio.features", reason="rasterio is not installed")
    affine: Any = pytest.importorskip("affine")
    turned = [[[(x, -y if upwards else y) for x, y in ring] for ring in polygon] for polygon in polygons]
    shapes = [(geometry(polygon), value) for polygon, value in zip(turned, values, strict=True)]
    down = -1 if upwards else 1
    transform = affine.Affine(1, 0, window.left, 0, down, down * window.top)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        filled: NDArray[np.uint8] = features.rasterize(
            shapes, out_shape=(window.height, window.width), fill=fill, transform=transform, dtype="uint8"
        )
    return filled


def drawn(polygons: Polygons, window: Window, **options: bool) -> NDArray[np.uint8]:
    values = np.arange(1, len(polygons) + 1, dtype=np.uint8)
    return rasterize(packed(polygons), values, window, 255, **options)


def random_polygons(random: np.random.Generator, grid: float, count: int = 4) -> list[list[Ring]]:
    """Polygons of up to three rings, of random points (which cross themselves) or upright rectangles."""
    polygons = []
    for _ in range(random.integers(1, count + 1)):
        rings: list[Ring] = []
        for _ in range(random.integers(1, 4)):
            points = random.uniform(-4, 24, (random.integers(3, 9), 2))
            points = np.round(points / grid) * grid if grid else points
            if random.random() < 0.3:
                (left, top), (right, bottom) = points[:2]
                points = np.array([(left, top), (left, bottom), (right, bottom), (right, top)])
                points = points[:: random.choice([-1, 1])]
            if np.ptp(points[:, 1]) > 0:  # rasterio fills what has no height in a way of its own
                rings.append([(float(x), float(y)) for x, y in points])
        if rings:
            polygons.append(rings)
    return polygons or [square(1, 1, 3)]


windows = st.builds(Window, st.integers(-3, 12), st.integers(-3, 12), st.integers(1, 20), st.integers(1, 20))


@given(
    seed=st.integers(0, 10**9),
    window=windows,
    batch=st.sampled_from([1, 3, 50, 1 << 16]),
    short=st.sampled_from([0, 64]),
)
def test_each_pixel_is_filled_as_crossings_tell(seed: int, window: Window, batch: int, short: int) -> None:
    polygons = random_polygons(np.random.default_rng(seed), 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BATCH", batch)
        patch.setattr(module, "BAND", 2 * batch)
        patch.setattr(module, "SHORT", short)
        assert (drawn(polygons, window) == counted(polygons, range(1, len(polygons) + 1), window, 255)).all()


@given(seed=st.integers(0, 10**9), window=windows, grid=st.sampled_from([0, 0.25, 0.5, 1]), upwards=st.booleans())
def test_pixels_are_those_of_rasterio(seed: int, window: Window, grid: float, upwards: bool) -> None:
    """On grids of half pixels, points and edges lie exactly on the middles of pixels."""
    polygons = random_polygons(np.random.default_rng(seed), grid)
    expected = by_rasterio(polygons, range(1, len(polygons) + 1), window, 255, upwards)
    assert (drawn(polygons, window, mirrored=upwards) == expected).all()


@pytest.mark.parametrize("upwards", [False, True])
def test_thousands_of_stars_are_those_of_rasterio(upwards: bool) -> None:
    random = np.random.default_rng(0)
    polygons = [[star(random, *random.uniform(0, 600, 2), random.uniform(0.3, 40), 20)] for _ in range(2000)]
    values = [number % 7 for number in range(2000)]
    window = Window(100, 50, 400, 500)
    filled = rasterize(packed(polygons), np.array(values, np.uint8), window, 255, upwards)
    assert (filled == by_rasterio(polygons, values, window, 255, upwards)).all()
    assert len(np.unique(filled)) == 8


@pytest.mark.parametrize("far", [1e4, 1e9, 1e12])
def test_points_far_away_are_those_of_rasterio(far: float) -> None:
    polygons: Polygons = [[[(-far, -far / 3), (far, 5.0), (7.0, far)]], [[(-far, 3.2), (far, 3.3), (far, 9.7)]]]
    window = Window(0, 0, 20, 30)
    expected = by_rasterio(polygons, [1, 2], window, 255) if far < 1e9 else counted(polygons, [1, 2], window, 255)
    assert (drawn(polygons, window) == expected).all()


def test_holes_and_what_is_enclosed_twice_stay_open() -> None:
    hole = [*square(0, 0, 10), *square(3, 3, 4)]
    assert drawn([hole], Window(0, 0, 10, 10))[3:7, 3:7].tolist() == [[255] * 4] * 4
    crossing: Ring = [(0, 0), (10, 0), (10, 10), (2, 10), (2, 2), (8, 2), (8, 8), (0, 8)]
    filled = drawn([[crossing]], Window(0, 0, 10, 10))
    assert filled[5, 5] == 255
    assert filled[1, 1] == filled[9, 5] == 1


def test_later_polygons_cover_earlier_ones() -> None:
    filled = drawn([square(0, 0, 6), square(2, 2, 6), square(4, 4, 1)], Window(0, 0, 8, 8))
    assert [filled[1, 1], filled[3, 3], filled[4, 4], filled[7, 0]] == [1, 2, 3, 255]


def test_windows_fit_together() -> None:
    random = np.random.default_rng(3)
    polygons = [[star(random, *random.uniform(0, 90, 2), 20, 30)] for _ in range(40)]
    whole = drawn(polygons, Window(0, 0, 90, 90))
    for top in range(0, 90, 30):
        for left in range(0, 90, 45):
            window = Window(top, left, 30, 45)
            assert (drawn(polygons, window) == whole[window.slices()]).all()


def test_memory_does_not_grow_with_crossings() -> None:
    """A zigzag of 40,000 edges crosses all of 500 rows: twenty million crossings."""
    x = np.linspace(0, 500, 40_000)
    zigzag = packed([[list(zip(x.tolist(), (np.arange(40_000) % 2 * 500.0).tolist(), strict=True))]])
    tracemalloc.start()
    try:
        filled = rasterize(zigzag, np.array([1], np.uint8), Window(0, 0, 500, 500), 255)
        assert tracemalloc.get_traced_memory()[1] < 40 << 20
    finally:
        tracemalloc.stop()
    assert 0 < np.count_nonzero(filled == 1) < filled.size


def test_nothing_is_drawn_without_polygons_or_pixels() -> None:
    assert (drawn([square(50, 50, 3)], Window(0, 0, 4, 5)) == 255).all()
    assert drawn([square(0, 0, 3)], Window(0, 0, 0, 5)).shape == (0, 5)
