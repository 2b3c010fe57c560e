"""A layer of pixels over an image: a map of classes, values in colours, or a picture."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fitcli.errors import UnreadableAs
from fitcli.images.base import ImageInfo, ImageReader, Pixels
from fitcli.images.missing import missing_pixels
from fitcli.images.picture_bytes import png_bytes
from fitcli.images.read_as import AS_STORED, ReadAs, open_as
from fitcli.images.window import Window
from fitcli.view.channel_display import ShownChannel, first_channels, measured_ranges, picture
from fitcli.view.class_legend import ClassLegend, class_legend
from fitcli.view.layer_place import LayerPlace, place_layer
from fitcli.view.tile_grid import TileGrid
from fitcli.view.tile_pixels import read_tile
from fitcli.view.value_scale import RangeScale, ValueScale, scale_legend

CLASSES, VALUES, PICTURE = "classes", "values", "picture"

OPACITY = {CLASSES: 0.5, VALUES: 0.7, PICTURE: 0.6}
"""Opacity of a layer at first."""

SAMPLED = 1 << 10
"""Side of the part of the smallest level in which values of classes are looked for."""

PROBABILITY = "probability of "
"""Beginning of the description of the probabilities that `fit segment` writes."""


@dataclass(frozen=True, slots=True, eq=False)
class RasterLayer:
    """An open layer.

    Attributes:
        name: Its name in the page.
        image: The open file.
        place: Position over its image.
        kind: "classes", "values" or "picture".
        title: Description in its file.
        channel_names: Names of its channels.
        legend: Its classes.
        scales: Colours of the values of each channel.
        shown: How the channels of a picture are shown.
        opacity: Opacity at first; None for that of its kind.
    """

    name: str
    image: ImageReader
    place: LayerPlace
    kind: str
    title: str = ""
    channel_names: tuple[str, ...] = ()
    legend: ClassLegend | None = None
    scales: tuple[ValueScale, ...] = ()
    shown: tuple[ShownChannel, ...] = ()
    opacity: float | None = None

    @property
    def grid(self) -> TileGrid:
        """Its tiles, in its own pixels."""
        return TileGrid(*self.image.info.size)

    @property
    def has_own_colors(self) -> bool:
        """Whether its values stand for colours: classes, and heat maps with a scale of their own."""
        return self.kind == CLASSES or any(not isinstance(scale, RangeScale) for scale in self.scales)

    def document(self) -> dict[str, Any]:
        """Return what the page needs to know."""
        info, grid, place = self.image.info, self.grid, self.place
        legend: dict[str, Any] = {}
        if self.legend is not None:
            legend = {"classes": self.legend.document()}
        elif self.scales:
            legend = {"scales": [scale_legend(scale, self.title) for scale in self.scales]}
        return {
            "kind": self.kind,
            "name": self.name,
            "width": info.width,
            "height": info.height,
            "lowest": grid.lowest,
            "top": grid.top,
            "place": list(place),
            "opacity": OPACITY[self.kind] if self.opacity is None else self.opacity,
            "channels": list(self.channel_names),
            **legend,
        }

    def tile(self, level: int, column: int, row: int, channel: int = 0, hidden: frozenset[int] = frozenset()) -> bytes:
        """Return a tile as PNG with alpha.

        Args:
            level, column, row: The tile, which exists.
            channel: Channel of values.
            hidden: Values of classes that are not shown.

        Raises:
            ImageError: The pixels cannot be read.
        """
        pixels = read_tile(self.image, level, column, row, nearest=self.kind == CLASSES)
        if self.legend is not None:
            return png_bytes(_class_colors(pixels[..., 0], self.legend, hidden))
        if self.kind == PICTURE:
            return png_bytes(_picture_colors(pixels, self.shown, self.image.info))
        return png_bytes(_value_colors(pixels[..., channel], self.scales[channel], self.image.info))

    def value_text(self, x: float, y: float) -> str:
        """Return what the layer has at a place in pixels of the image; "" outside and where nothing is known."""
        column, row = int((x - self.place.left) // self.place.across), int((y - self.place.top) // self.place.down)
        if not (0 <= column < self.image.info.width and 0 <= row < self.image.info.height):
            return ""
        pixel = self.image.read(Window(row, column, 1, 1))[0, 0]
        if self.legend is not None:
            return self.legend.names.get(int(pixel[0]), str(int(pixel[0])))
        return values_text(pixel, self.channel_names)


def values_text(pixel: NDArray[Any], names: tuple[str, ...], most: int = 8) -> str:
    """Return the values of a pixel [channels] as text, in the numbers of the file, with the names of channels."""
    texts = [_number(value) for value in pixel[:most].tolist()]
    if len(names) >= len(texts) > 0 and any(names):
        texts = [f"{name} {text}" if name else text for name, text in zip(names, texts, strict=False)]
    return ", ".join(texts) + (", ..." if len(pixel) > most else "")


def _number(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(int(value))


def _picture_colors(pixels: Pixels, shown: Sequence[ShownChannel], info: ImageInfo) -> NDArray[np.uint8]:
    missing = missing_pixels(pixels[..., :3], info.nodata)
    alpha = np.full(pixels.shape[:2], 255, np.uint8)
    if pixels.shape[2] == 4 and pixels.dtype == np.uint8:
        alpha = pixels[..., 3]
    elif missing is not None:
        alpha[missing.all(axis=-1)] = 0
    return np.dstack([picture(pixels, shown, info.nodata), alpha])


def _class_colors(values: NDArray[Any], legend: ClassLegend, hidden: frozenset[int]) -> NDArray[np.uint8]:
    table = legend.table()
    table[[value for value in hidden if value < len(table)], 3] = 0
    inside = (values >= 0) & (values < len(table)) if values.dtype.kind != "b" else np.ones(values.shape, np.bool_)
    colors: NDArray[np.uint8] = table[np.where(inside, values, 0).astype(np.int64)]
    colors[~inside, 3] = 0
    return colors


def _value_colors(values: NDArray[Any], scale: ValueScale, info: ImageInfo) -> NDArray[np.uint8]:
    exact = values.astype(np.float64)
    missing = missing_pixels(values[..., None], info.nodata)
    if missing is not None:
        exact = np.where(missing[..., 0], np.nan, exact)
    color, alpha = scale.shades(exact)
    return np.rint(np.dstack([color, 255 * alpha])).clip(0, 255).astype(np.uint8)


def open_layer(
    name: str,
    path: Path,
    image: ImageReader,
    scales: Mapping[str, ValueScale],
    over: bool = True,
    how: ReadAs = AS_STORED,
) -> RasterLayer:
    """Open a layer.

    Args:
        name: Its name in the page.
        path: The file, with a choice at its end or without.
        image: The open image that it lies over.
        scales: Colours by the first word of the description of the file, such as "Evidence".
        over: Whether it lies over the image; otherwise it stands beside it, at its own place.
        how: Level, scale and planes that are read of it; what is chosen at the end of the path comes before.

    Raises:
        ImageError: It cannot be read, or is of another size or place.
    """
    opened = open_as(path, how, indices=True, lenient=True)
    try:
        place = place_layer(path, opened.info, image.path, image.info) if over else LayerPlace()
        return _described(name, opened, place, scales)
    except BaseException:
        opened.close()
        raise


def _described(name: str, image: ImageReader, place: LayerPlace, scales: Mapping[str, ValueScale]) -> RasterLayer:
    info, contents = image.info, image.describe_contents()
    if info.features is not None and info.channels > 1:
        raise UnreadableAs(image.path, "holds features of patches, which are no layer; give a heat map or a map")
    if (legend := class_legend(image, _some_values(image))) is not None:
        return RasterLayer(name, image, place, CLASSES, legend=legend)
    if info.color:
        return RasterLayer(name, image, place, PICTURE, shown=first_channels(image)[:3])
    title = contents.description
    names = contents.series[contents.read].channel_names if contents.series else ()
    names = names or listed_names(title, info.channels)
    known = scales.get((re.match(r"\w+", title) or [""])[0])
    if known is not None:
        return RasterLayer(name, image, place, VALUES, title, names, scales=(known,) * info.channels)
    title = title if title.startswith(PROBABILITY) else ""
    ranges = measured_ranges(image, info.channels)
    if info.dtype == np.uint8:
        ranges = [(0.0, 255.0)] * info.channels
    return RasterLayer(name, image, place, VALUES, title, names, scales=tuple(RangeScale(*each) for each in ranges))


def listed_names(title: str, count: int) -> tuple[str, ...]:
    """Return the names of classes that the title of a layer lists, one for each channel; () if it lists others."""
    match = re.match(r"(?:probability of|Contribution to) (.+): ", title)
    names = () if match is None else tuple(match[1].split(", "))
    if len(names) != count:
        return ()
    # A run of several targets names the target.
    return (*names[:-1], names[-1].partition(" for ")[0])


def _some_values(image: ImageReader) -> Pixels:
    level = len(image.info.levels) - 1
    return image.read(Window(0, 0, SAMPLED, SAMPLED), level)
