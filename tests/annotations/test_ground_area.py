"""Areas on the ground, against known areas of the Earth."""

from __future__ import annotations

import numpy as np
import pytest

from fitcli.annotations.ground_area import pixel_areas
from fitcli.images.georeference import DOUBLES_TAG, GeoReference

EARTH = 510_065_621_724_000
"""Square metres of the ellipsoid WGS 84 (NGA.STND.0036)."""


TURNED = (1.0, 0.5, 0.0, 0.0, 0.5, -1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)
"""ModelTransformation of an image whose rows are no circles of latitude."""


def keys(*entries: tuple[int, int, int]) -> tuple[int, ...]:
    return (1, 1, 0, len(entries), *(value for key, tag, number in entries for value in (key, tag, 1, number)))


def reference(
    system: tuple[int, ...], pixel: float, x: float = 0.0, y: float = 0.0, doubles: tuple[float, ...] = ()
) -> GeoReference:
    scale, tiepoints = (pixel, pixel, 0.0), (0.0, 0.0, 0.0, x, y, 0.0)
    return GeoReference(scale=scale, tiepoints=tiepoints, keys=system, doubles=doubles)


def test_the_whole_earth_in_degrees() -> None:
    areas = pixel_areas(reference(keys((2048, 0, 4326)), 0.5, -180, 90), 360)
    assert areas is not None
    assert areas.sum() * 720 == pytest.approx(EARTH, rel=1e-9)
    np.testing.assert_allclose(areas, areas[::-1])
    assert areas.argmax() in (179, 180)


@pytest.mark.parametrize(
    ("unit", "metre"),
    [((3076, 0, 9001), 1.0), ((3076, 0, 9002), 0.3048), ((3076, 0, 9003), 1200 / 3937), ((3076, 0, 9036), 1000.0)],
)
def test_units_of_projected_systems(unit: tuple[int, int, int], metre: float) -> None:
    areas = pixel_areas(reference(keys((3072, 0, 2263), unit), 2.0), 3)
    np.testing.assert_allclose(areas, [4 * metre**2] * 3)  # type: ignore[arg-type]


def test_a_unit_of_its_own() -> None:
    system = keys((3072, 0, 32767), (3076, 0, 32767), (3077, DOUBLES_TAG, 0))
    np.testing.assert_allclose(pixel_areas(reference(system, 2.0, doubles=(0.5,)), 2), [1, 1])  # type: ignore[arg-type]


def test_utm_is_in_metres_without_a_unit() -> None:
    np.testing.assert_allclose(pixel_areas(reference(keys((3072, 0, 32633)), 10.0), 1), [100])  # type: ignore[arg-type]


def test_web_mercator_depends_on_the_latitude() -> None:
    """At 60 degrees, a length is twice as long on the map as on the ground."""
    y = 6378137 * np.log(np.tan(np.pi / 4 + np.radians(60) / 2))
    areas = pixel_areas(reference(keys((3072, 0, 3857)), 1.0, 0, float(y)), 1)
    np.testing.assert_allclose(areas, [0.25], rtol=1e-6)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "geo",
    [
        reference(keys((3072, 0, 2263)), 1.0),
        reference((), 1.0),
        reference(keys((3072, 0, 2263), (3076, 0, 9999)), 1.0),
        reference(keys((2048, 0, 4326), (2054, 0, 9105)), 1.0),
        GeoReference(transformation=TURNED, keys=keys((2048, 0, 4326))),
        GeoReference(tiepoints=(0.0, 0.0, 0.0, 1.0, 2.0, 0.0), keys=keys((3072, 0, 32633))),
    ],
    ids=["no unit", "no system", "unknown unit", "grads", "turned degrees", "one tiepoint"],
)  # fmt: skip
def test_what_is_unknown_has_no_area(geo: GeoReference) -> None:
    assert pixel_areas(geo, 4) is None
