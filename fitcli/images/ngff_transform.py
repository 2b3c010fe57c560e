"""Places the pixels of an image in the coordinates of its OME-Zarr group, in which viewers lay layers over images."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace


@dataclass(frozen=True, kw_only=True, slots=True)
class NgffTransform:
    """The coordinate transformations of level 0 (NGFF 0.5, coordinateTransformations): a scale, then a translation.

    Attributes:
        scale: (y, x) units per pixel.
        origin: (y, x) of the centre of the first pixel in units.
        unit: Name of the unit, such as "micrometer"; "" for none.

    Raises:
        ValueError: A number is not finite, or a scale is not above 0.
    """

    scale: tuple[float, float]
    origin: tuple[float, float] = (0.0, 0.0)
    unit: str = ""

    def __post_init__(self) -> None:
        if not all(map(math.isfinite, (*self.scale, *self.origin))) or min(self.scale) <= 0:
            raise ValueError("a transform needs finite numbers and scales above 0")

    def crop(self, top: int, left: int) -> NgffTransform:
        """Return the transform of the part that begins `top`, `left` pixels from the upper left corner."""
        (y, x), (down, across) = self.origin, self.scale
        return replace(self, origin=(y + top * down, x + left * across))

    def resize(self, before: tuple[int, int], after: tuple[int, int]) -> NgffTransform:
        """Return the transform of the same area in pixels of another size.

        Args:
            before, after: (height, width) in pixels of the image, and of the resized image.
        """
        scale = self.scale[0] * before[0] / after[0], self.scale[1] * before[1] / after[1]
        # Resizing keeps the corners of the image, not the centre of its first pixel.
        y, x = (at + (new - old) / 2 for at, new, old in zip(self.origin, scale, self.scale, strict=True))
        return replace(self, scale=scale, origin=(y, x))
