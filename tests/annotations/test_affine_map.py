"""Maps between pixels and world coordinates, from all tags that place an image."""

from __future__ import annotations

import numpy as np
import pytest

from fitcli.annotations.affine_map import IDENTITY, AffineMap, is_geographic, pixels_to_world
from fitcli.images.georeference import GeoReference

AT_CENTRES = (1, 1, 0, 1, 1025, 0, 1, 2)
UPRIGHT = GeoReference(scale=(10.0, 5.0, 0.0), tiepoints=(0, 0, 0, 4e5, 5.7e6, 0))
PLACES = {
    "scale": (UPRIGHT, (400_020, 5_699_985)),
    "scale, tiepoint inside": (
        GeoReference(scale=(10.0, 5.0, 0.0), tiepoints=(2, 3, 0, 400_020, 5_699_985, 0)),
        (400_020, 5_699_985),
    ),
    "pixel is point": (
        GeoReference(scale=(10.0, 5.0, 0.0), tiepoints=(0, 0, 0, 400_005, 5_699_997.5, 0), keys=AT_CENTRES),
        (400_020, 5_699_985),
    ),
    "matrix": (
        GeoReference(transformation=(8, -6, 0, 4e5, -6, -8, 0, 5.7e6, 0, 0, 1, 0, 0, 0, 0, 1)),
        (399_998, 5_699_964),
    ),
    "tiepoints": (
        GeoReference(tiepoints=(0, 0, 0, 8, 50, 0, 90, 0, 0, 9, 50, 0, 0, 70, 0, 8, 49, 0, 90, 70, 0, 9, 49, 0)),
        (8 + 2 / 90, 50 - 3 / 70),
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", PLACES)
def test_a_pixel_has_its_place_and_the_place_its_pixel(kind: str) -> None:
    geo, place = PLACES[kind]
    world = pixels_to_world(geo)
    assert world.apply(np.array([[2.0, 3.0]]))[0] == pytest.approx(place)
    assert world.inverse().apply(np.array([place]))[0] == pytest.approx((2, 3))
    assert world.mirrors


def test_rasterio_fits_tiepoints_alike() -> None:
    transform = pytest.importorskip("rasterio.transform", reason="rasterio is not installed")
    control = pytest.importorskip("rasterio.control")
    geo, _ = PLACES["tiepoints"]
    rows = np.array(geo.tiepoints).reshape(-1, 6).tolist()
    points = [control.GroundControlPoint(row=row, col=column, x=x, y=y) for column, row, _, x, y, _ in rows]
    expected = transform.from_gcps(points) @ (2, 3)
    assert pixels_to_world(geo).apply(np.array([[2.0, 3.0]]))[0] == pytest.approx(expected)


def test_tiepoints_that_are_no_grid_place_nothing() -> None:
    bent = GeoReference(
        tiepoints=(0, 0, 0, 8, 50, 0, 90, 0, 0, 9, 50.1, 0, 0, 70, 0, 8.1, 49, 0, 90, 70, 0, 9.9, 49, 0)
    )
    with pytest.raises(ValueError, match="no regular grid"):
        pixels_to_world(bent)
    on_a_line = GeoReference(tiepoints=(0, 0, 0, 8, 50, 0, 90, 0, 0, 9, 50, 0))
    with pytest.raises(ValueError, match="no regular grid"):
        pixels_to_world(on_a_line)


def test_a_map_onto_a_line_has_no_inverse() -> None:
    with pytest.raises(ValueError, match="no inverse"):
        AffineMap(a=1, b=2, d=2, e=4).inverse()


def test_boxes_are_turned_with_the_map() -> None:
    assert AffineMap(a=0, b=-1, d=1, e=0).box(0, 0, 4, 2) == (-2, 0, 0, 4)
    points = np.array([[1.0, 2.0]])
    assert IDENTITY.apply(points) is points


@pytest.mark.parametrize(
    ("keys", "code", "degrees"),
    [
        ((1, 1, 0, 1, 3072, 0, 1, 32632), 32632, False),
        ((1, 1, 0, 1, 2048, 0, 1, 4326), 4326, True),
        ((1, 1, 0, 2, 2048, 0, 1, 4326, 3072, 0, 1, 25833), 25833, False),
        ((1, 1, 0, 1, 3072, 0, 1, 32767), None, False),
        ((), None, False),
    ],
)
def test_keys_name_the_coordinate_system(keys: tuple[int, ...], code: int | None, degrees: bool) -> None:
    geo = GeoReference(scale=(1, 1, 0), tiepoints=(0,) * 6, keys=keys)
    assert geo.coordinate_system() == code
    assert is_geographic(geo) == degrees
