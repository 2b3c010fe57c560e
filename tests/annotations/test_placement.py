"""Georeferences place pixels on the Earth."""

from __future__ import annotations

import numpy as np
import pytest

from fitcli.annotations.placement import PIXELS, PIXELS_UPWARDS, world_placement
from fitcli.images.georeference import GeoReference

SQUARE = np.array([[0, 0], [10, 0], [10, 20], [0, 20], [0, 0]])


def keys(*entries: tuple[int, int]) -> tuple[int, ...]:
    return (1, 1, 0, len(entries), *(value for key, code in entries for value in (key, 0, 1, code)))


def signed_area(ring: np.ndarray) -> float:
    return float((ring[:-1, 0] * ring[1:, 1] - ring[1:, 0] * ring[:-1, 1]).sum() / 2)


UTM = keys((1024, 1), (3072, 32633))


def test_a_tiepoint_with_a_scale() -> None:
    placement = world_placement(GeoReference(scale=(0.5, 0.5, 0), tiepoints=(0, 0, 0, 500000, 4600000, 0), keys=UTM))
    assert placement is not None
    assert placement.epsg == 32633
    ring = placement.ring(SQUARE)
    assert ring.tolist() == [
        [500000, 4600000],
        [500000, 4599990],
        [500005, 4599990],
        [500005, 4600000],
        [500000, 4600000],
    ]
    assert signed_area(ring) == 50


def test_the_tiepoint_may_lie_anywhere() -> None:
    corner = world_placement(GeoReference(scale=(2, 3, 0), tiepoints=(0, 0, 0, 100, 200, 0)))
    inside = world_placement(GeoReference(scale=(2, 3, 0), tiepoints=(5, 7, 0, 110, 179, 0)))
    assert corner == inside


def test_pixels_as_points_are_at_their_centres() -> None:
    geo = GeoReference(scale=(2, 4, 0), tiepoints=(0, 0, 0, 1, -2, 0), keys=keys((1024, 1), (1025, 2), (3072, 32633)))
    placement = world_placement(geo)
    assert placement is not None
    assert placement.ring(SQUARE)[0].tolist() == [0, 0]


@pytest.mark.parametrize(("matrix", "area"), [((0, 2, 2, 0), 800), ((0, 2, -2, 0), 800), ((1, 1, -1, 1), 400)])
def test_a_turned_image(matrix: tuple[float, ...], area: float) -> None:
    a, b, d, e = matrix
    rows = ((a, b, 0, 7), (d, e, 0, 9), (0, 0, 0, 0), (0, 0, 0, 1))
    placement = world_placement(GeoReference(transformation=tuple(float(value) for row in rows for value in row)))
    assert placement is not None
    ring = placement.ring(SQUARE)
    assert {tuple(point) for point in ring.tolist()} == {(a * x + b * y + 7, d * x + e * y + 9) for x, y in SQUARE}
    assert signed_area(ring) == area


def test_coordinates_are_rounded_to_a_part_of_a_pixel() -> None:
    placement = world_placement(GeoReference(scale=(1 / 3, 1 / 3, 0), tiepoints=(0, 0, 0, 0.1, 0, 0)))
    assert placement is not None
    assert placement.ring(np.array([[1, 1]])).tolist() == [[0.4333, -0.3333]]
    degrees = world_placement(GeoReference(scale=(1e-6, 1e-6, 0), tiepoints=(0, 0, 0, 9.5, 47, 0)))
    assert degrees is not None
    assert degrees.ring(np.array([[1, 1]])).tolist() == [[9.500001, 46.999999]]
    assert PIXELS.ring(np.array([[1.23456, 0]])).tolist() == [[1.235, 0]]


def test_pixels() -> None:
    assert PIXELS.ring(SQUARE) is SQUARE
    upwards = PIXELS_UPWARDS.ring(SQUARE)
    assert upwards.min(axis=0).tolist() == [0, -20]
    assert signed_area(upwards) == 200
    assert not np.signbit(upwards[0]).any()


def test_what_is_not_affine() -> None:
    several = GeoReference(tiepoints=(0, 0, 0, 1, 1, 0, 9, 9, 0, 3, 4, 0))
    flat = GeoReference(transformation=(1.0, 1.0, 0, 0, 1.0, 1.0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1.0))
    assert [world_placement(geo) for geo in (several, flat)] == [None, None]


@pytest.mark.parametrize(
    ("entries", "code"),
    [
        ([(1024, 1), (3072, 32633)], 32633),
        ([(1024, 2), (2048, 4326)], 4326),
        ([(1024, 1), (2048, 4326), (3072, 3857)], 3857),
        ([(1024, 1), (3072, 32767)], None),
        ([(1024, 3), (2048, 4978)], 4978),
        ([(3072, 32633)], 32633),
        ([], None),
    ],
)
def test_epsg_codes(entries: list[tuple[int, int]], code: int | None) -> None:
    geo = GeoReference(scale=(1, 1, 0), tiepoints=(0,) * 6, keys=keys(*entries) if entries else ())
    assert geo.coordinate_system() == code
