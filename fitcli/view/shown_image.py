"""An image that is looked at: its tiles, its channels, its scale and place."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fitcli.annotations.affine_map import is_geographic, pixels_to_world
from fitcli.annotations.ground_area import metres_per_unit
from fitcli.images.base import ImageInfo, ImageReader
from fitcli.images.picture_bytes import jpeg_bytes
from fitcli.images.window import Window
from fitcli.view.channel_display import MOST_LISTED, PRIMARIES, ShownChannel, first_channels, picture
from fitcli.view.raster_layer import values_text
from fitcli.view.tile_grid import TileGrid
from fitcli.view.tile_pixels import read_tile


@dataclass(frozen=True, slots=True, eq=False)
class ShownImage:
    """An open image.

    Attributes:
        name: Its name in the page.
        image: The open file.
        channels: How each channel is shown at first.
        channel_names: Names of the channels; "" for one without a name.
    """

    name: str
    image: ImageReader
    channels: tuple[ShownChannel, ...]
    channel_names: tuple[str, ...]

    @property
    def grid(self) -> TileGrid:
        return TileGrid(*self.image.info.size)

    def document(self) -> dict[str, Any]:
        """Return what the page needs to know."""
        info, grid = self.image.info, self.grid
        channels = [
            {
                "number": each.number,
                "name": name,
                "low": each.low,
                "high": each.high,
                "color": bytes(each.color).hex(),
                "shown": each.number < len(PRIMARIES),
            }
            for each, name in zip(self.channels, self.channel_names, strict=True)
        ]
        return {
            "name": self.name,
            "width": info.width,
            "height": info.height,
            "lowest": grid.lowest,
            "top": grid.top,
            "dtype": info.dtype.name,
            "format": info.format,
            "bands": info.channels,
            "channels": channels,
            "levels": [[level.width, level.height] for level in info.levels],
            **_scale(info),
        }

    def tile(self, level: int, column: int, row: int, channels: Sequence[ShownChannel] | None = None) -> bytes:
        """Return a tile as JPEG.

        Args:
            level, column, row: The tile, which exists.
            channels: Channels that are shown; None for the first ones.

        Raises:
            ImageError: The pixels cannot be read.
        """
        shown = self.channels[: len(PRIMARIES)] if channels is None else channels
        return jpeg_bytes(picture(read_tile(self.image, level, column, row), shown, self.image.info.nodata))

    def value_text(self, x: float, y: float) -> str:
        """Return the values of a pixel; "" outside of the image."""
        column, row = math.floor(x), math.floor(y)
        if not (0 <= column < self.image.info.width and 0 <= row < self.image.info.height):
            return ""
        names = self.channel_names if not self.image.info.color else ()
        return values_text(self.image.read(Window(row, column, 1, 1))[0, 0], names)


def show_image(name: str, image: ImageReader) -> ShownImage:
    """Return an open image as it is shown at first. Reads some pixels of its smallest level.

    Raises:
        ImageError: The pixels cannot be read.
    """
    contents = image.describe_contents()
    series = contents.series[contents.read] if contents.series else None
    names: Sequence[str] = series.channel_names if series else ()
    colors: Sequence[str] = series.channel_colors if series else ()
    numbers = image.choice.channel_numbers(len(names), names) if names else None
    if isinstance(numbers, list):
        names, colors = [names[n] for n in numbers], [colors[n] for n in numbers if n < len(colors)]
    count = min(image.info.channels, MOST_LISTED)
    padded = (*names[:count], *[""] * (count - len(names)))
    return ShownImage(name, image, first_channels(image, colors), padded)


def _scale(info: ImageInfo) -> dict[str, Any]:
    """Return the length of a pixel and its unit, and the map from pixels to coordinates, as far as they are known."""
    found: dict[str, Any] = {}
    if info.geo is not None:
        try:
            where = pixels_to_world(info.geo)
        except ValueError:
            return found
        found["world"] = [where.a, where.b, where.c, where.d, where.e, where.f]
        code = info.geo.coordinate_system()
        found["system"] = "" if code is None else f"EPSG:{code}"
        side = math.hypot(where.a, where.d)
        metre = metres_per_unit(info.geo)
        if is_geographic(info.geo):
            found |= {"pixel": side, "unit": "degree"}
        elif metre is not None:
            found |= {"pixel": side * metre, "unit": "m"}
    if info.mpp is not None and "pixel" not in found:
        found |= {"pixel": info.mpp * 1e-6, "unit": "m"}
    return found
