"""Places the pixels of an image on the Earth, with the tags of GeoTIFF (OGC 19-008r4)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

RASTER_TYPE_KEY, PIXEL_IS_POINT = 1025, 2
"""GTRasterTypeGeoKey, and its value for raster coordinates at pixel centres. With 1, or without the key, they are at
pixel corners."""

MODEL_TYPE_KEY, PROJECTED = 1024, 1
"""GTModelTypeGeoKey, and its value for coordinates of a projection."""

PROJECTED_KEY, GEODETIC_KEY, USER_DEFINED = 3072, 2048, 32767
"""ProjectedCRSGeoKey and GeodeticCRSGeoKey, and their value for a coordinate system without a code."""

DOUBLES_TAG, TEXT_TAG = 34736, 34737
"""GeoDoubleParams and GeoAsciiParams: the tags that hold the values of keys."""

MAX_TIEPOINTS, MAX_KEYS = 10_000, 1000
"""Limits far above what real files hold."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GeoReference:
    """The tags of a GeoTIFF that place its raster and name the coordinate system.

    One of these places the raster point in column i and row j (rows downwards): a tiepoint with the scale, at
    x = X + (i - I) * scale[0] and y = Y - (j - J) * scale[1]; the transformation; or several tiepoints, by
    interpolation between them.

    Attributes:
        scale: ModelPixelScale: (x, y, z) units of the coordinate system per pixel; or empty.
        tiepoints: ModelTiepoint: (I, J, K, X, Y, Z) per tiepoint; or empty.
        transformation: ModelTransformation: a 4 x 4 matrix from (I, J, K, 1) to (X, Y, Z, 1), row by row; or empty.
        keys: GeoKeyDirectory: (version, revision, minor, count), then (key, tag, count, value or index) per key; or
            empty for an unknown coordinate system.
        doubles, text: GeoDoubleParams and GeoAsciiParams: values of keys that do not fit into the directory.

    Raises:
        ValueError: The tags place no pixel, or contradict each other.
    """

    scale: tuple[float, ...] = ()
    tiepoints: tuple[float, ...] = ()
    transformation: tuple[float, ...] = ()
    keys: tuple[int, ...] = ()
    doubles: tuple[float, ...] = ()
    text: str = ""

    def __post_init__(self) -> None:
        if not all(map(math.isfinite, (*self.scale, *self.tiepoints, *self.transformation, *self.doubles))):
            raise ValueError("the numbers of a georeference must be finite")
        if len(self.scale) not in (0, 3) or len(self.transformation) not in (0, 16) or len(self.tiepoints) % 6:
            raise ValueError("the scale, transformation or tiepoints of a georeference are incomplete")
        if not (self.tiepoints or self.transformation) or 0 in self.scale[:2]:
            raise ValueError("a georeference must place pixels")
        if len(self.tiepoints) > 6 * MAX_TIEPOINTS or not self.text.isascii() or "\0" in self.text:
            raise ValueError("a georeference has too many tiepoints, or text that is not plain ASCII")
        self._check_keys()

    def _check_keys(self) -> None:
        count, rest = divmod(len(self.keys), 4)
        if not self.keys:
            return
        if rest or self.keys[3] != count - 1 or count > MAX_KEYS or not 0 <= min(self.keys) <= max(self.keys) < 2**16:
            raise ValueError("the key directory of a georeference is invalid")
        # The stored length of a text may include the NUL at its end.
        lengths = {DOUBLES_TAG: len(self.doubles), TEXT_TAG: len(self.text) + 1}
        for first in range(4, len(self.keys), 4):
            _, tag, values, place = self.keys[first : first + 4]
            if tag in lengths and place + values > lengths[tag]:
                raise ValueError("a key of a georeference has no value")

    def crop(self, top: int, left: int) -> GeoReference | None:
        """Return the georeference of a part of the image.

        Args:
            top, left: Distance in pixels from the image's upper left corner to that of the part; may be negative.

        Returns:
            None if a number is no longer finite.
        """
        return self._map(1.0, 1.0, left, top)

    def resize(self, before: tuple[int, int], after: tuple[int, int]) -> GeoReference | None:
        """Return the georeference of the same area in pixels of another size.

        Args:
            before, after: (height, width) in pixels of the image, and of the resized image.

        Returns:
            None if a number is no longer finite.
        """
        across, down = after[1] / before[1], after[0] / before[0]
        # Resizing keeps the corners of the image, not the centre of its first pixel.
        centre = 0.5 if self.at_centres else 0.0
        return self._map(across, down, centre / across - centre, centre / down - centre)

    def affine(self) -> tuple[float, float, float, float, float, float] | None:
        """Return (a, b, c, d, e, f): the corner of pixel (column i, row j) lies at (a i + b j + c, d i + e j + f).

        Returns:
            None if the image is placed by several tiepoints without a scale, or a number is not finite.
        """
        if self.transformation:
            a, b, _, c, d, e, _, f = self.transformation[:8]
        elif self.scale:
            column, row, _, x, y, _ = self.tiepoints[:6]
            a, b, d, e = self.scale[0], 0.0, 0.0, -self.scale[1]
            c, f = x - column * a, y - row * e
        else:
            return None
        if self.at_centres:
            c, f = c - (a + b) / 2, f - (d + e) / 2
        return (a, b, c, d, e, f) if all(map(math.isfinite, (a, b, c, d, e, f))) else None

    def coordinate_system(self) -> int | None:
        """Return the EPSG code of the projected, else of the geographic coordinate system; None if it has no code."""
        entries = [self.keys[first : first + 4] for first in range(4, len(self.keys), 4)]
        codes = {key: value for key, tag, _, value in entries if tag == 0}
        # A projection without a code also names the geographic system that it is based on.
        projected = codes.get(MODEL_TYPE_KEY) == PROJECTED or PROJECTED_KEY in codes
        code = codes.get(PROJECTED_KEY if projected else GEODETIC_KEY, 0)
        return code if 0 < code < USER_DEFINED else None

    def bounds(self, height: int, width: int) -> tuple[float, float, float, float] | None:
        """Return (left, bottom, right, top) of an image in units of the coordinate system; None as for `affine`."""
        if (affine := self.affine()) is None:
            return None
        a, b, c, d, e, f = affine
        corners = [(a * i + b * j + c, d * i + e * j + f) for i in (0, width) for j in (0, height)]
        xs, ys = zip(*corners, strict=True)
        return min(xs), min(ys), max(xs), max(ys)

    @property
    def at_centres(self) -> bool:
        """Whether raster coordinates are at pixel centres."""
        return any(
            self.keys[first] == RASTER_TYPE_KEY and self.keys[first + 3] == PIXEL_IS_POINT
            for first in range(4, len(self.keys), 4)
        )

    def _map(self, across: float, down: float, left: float, top: float) -> GeoReference | None:
        """Replace the raster coordinates I and J by I' = (I - left) * across and J' = (J - top) * down."""
        tiepoints = list(self.tiepoints)
        tiepoints[0::6] = [(column - left) * across for column in tiepoints[0::6]]
        tiepoints[1::6] = [(row - top) * down for row in tiepoints[1::6]]
        rows = [self.transformation[first : first + 4] for first in range(0, len(self.transformation), 4)]
        matrix = [(i / across, j / down, k, one + i * left + j * top) for i, j, k, one in rows]
        scale = (self.scale[0] / across, self.scale[1] / down, self.scale[2]) if self.scale else ()
        transformation = tuple(value for row in matrix for value in row)
        try:
            return replace(self, scale=scale, tiepoints=tuple(tiepoints), transformation=transformation)
        except ValueError:
            return None
