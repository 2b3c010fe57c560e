"""Finds where a layer lies over its image: by coordinates on the Earth, by its size, or by its scale."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from fitcli.annotations.affine_map import pixels_to_world
from fitcli.errors import ImageError
from fitcli.images.base import ImageInfo
from fitcli.images.georeference import GeoReference

TURNED = 1e-3
"""Most of a pixel that a layer may be turned by, per pixel: the browser shows layers upright."""

OVERHANG = 1.0
"""Pixels of a layer by which it may be larger or smaller than its image: sides are rounded."""


class LayerPlace(NamedTuple):
    """Where the pixels of a layer lie.

    Attributes:
        left, top: Upper left corner of the layer, in pixels of the image.
        across, down: Pixels of the image per pixel of the layer.
    """

    left: float = 0.0
    top: float = 0.0
    across: float = 1.0
    down: float = 1.0


def place_layer(path: Path, layer: ImageInfo, image_path: Path, image: ImageInfo) -> LayerPlace:
    """Return where a layer lies.

    Two georeferences decide; else a layer of the size of the image, or of that size by one factor or by the scales of
    both, lies on all of it.

    Raises:
        ImageError: The layer is of another coordinate system, place or size.
    """
    if layer.geo is not None and image.geo is not None:
        return _on_earth(path, layer, layer.geo, image_path, image, image.geo)
    sides = list(zip((image.height, image.width), (layer.height, layer.width), strict=True))
    if layer.mpp is not None and image.mpp is not None:
        factor = layer.mpp / image.mpp
        # The last pixels of a layer may reach beyond the image; scales have few digits.
        if all(abs(full / factor - own) <= OVERHANG + 0.002 * own for full, own in sides):
            return _spread(sides, factor)
    low = max(full / (own + OVERHANG) for full, own in sides)
    high = min(full / (own - OVERHANG) if own > OVERHANG else float("inf") for full, own in sides)
    if low <= high:
        factor = max(full / own for full, own in sides)
        # Layers are smaller by whole factors, up to rounding.
        whole = max(1, round(factor))
        return _spread(sides, whole if low <= whole <= high else factor)
    raise ImageError(
        path,
        f"has {layer.width} x {layer.height} pixels, but {image_path} has {image.width} x {image.height}; a layer has "
        "the size of its image, or is smaller by one factor along both sides (--side-by-side shows images of any size)",
    )


def _spread(sides: list[tuple[int, int]], factor: float) -> LayerPlace:
    """Return the place of a layer whose pixels are `factor` times as large; exact where sides are multiples."""
    down, across = (full / own if abs(full / own - factor) * own < 0.5 else factor for full, own in sides)
    return LayerPlace(across=across, down=down)


def _on_earth(
    path: Path, layer: ImageInfo, own: GeoReference, image_path: Path, image: ImageInfo, other: GeoReference
) -> LayerPlace:
    systems = own.coordinate_system(), other.coordinate_system()
    if None not in systems and systems[0] != systems[1]:
        raise ImageError(
            path,
            f"is in the coordinate system EPSG:{systems[0]}, but {image_path} in EPSG:{systems[1]}; reproject one "
            f"(gdalwarp -t_srs EPSG:{systems[1]})",
        )
    try:
        mine, back = pixels_to_world(own), pixels_to_world(other).inverse()
    except ValueError as error:
        raise ImageError(path, f"cannot be placed on {image_path} ({error}); warp it to a regular grid") from None
    across, down = back.a * mine.a + back.b * mine.d, back.d * mine.b + back.e * mine.e
    skew = abs(back.a * mine.b + back.b * mine.e), abs(back.d * mine.a + back.e * mine.d)
    if min(across, down) <= 0 or max(skew) > TURNED * min(abs(across), abs(down)):
        raise ImageError(path, f"is turned or mirrored against {image_path}; warp it to the same grid (gdalwarp)")
    left = back.a * mine.c + back.b * mine.f + back.c
    top = back.d * mine.c + back.e * mine.f + back.f
    right, bottom = left + across * layer.width, top + down * layer.height
    if left >= image.width or top >= image.height or right <= 0 or bottom <= 0:
        raise ImageError(
            path,
            f"lies elsewhere: at x {left:.6g} to {right:.6g} and y {top:.6g} to {bottom:.6g} in pixels of "
            f"{image_path}, which has {image.width} x {image.height}; give layers of the same place",
        )
    return LayerPlace(left, top, across, down)
