"""Writes what a model finds in an image, strip by strip: the map of classes, probabilities, polygons and areas."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fitcli.annotations.class_colors import is_background, with_colors
from fitcli.annotations.class_table import ClassTable, Color
from fitcli.annotations.feature_writer import FeatureWriter
from fitcli.annotations.features import open_features
from fitcli.annotations.ground_area import pixel_areas
from fitcli.annotations.rings import Polygon
from fitcli.annotations.trace import Tracer
from fitcli.files.publish import published_together
from fitcli.images.base import ImageInfo, ImageWriter
from fitcli.images.layer import create_layer, layer_info
from fitcli.images.window import Window
from fitcli.patches.grid import PatchGrid
from fitcli.tasks.image_output import WRITER_BYTES, writing_bytes
from fitcli.tasks.segment.strips import NOT_SEEN, pixels_of

MAP_SUFFIXES = (".tif", ".tiff", ".zarr", ".png")
"""Suffixes of maps and probabilities."""

POLYGON_SUFFIXES = (".geojson", ".geojson.gz", ".gpkg")
"""Suffixes of polygons."""

WHITE: Color = (255, 255, 255)

TRACING_BYTES = 64 << 20
"""Memory that tracing polygons takes, for maps without parts of extreme shapes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SegmentOutputs:
    """Files that are written for one image; None for those that are not.

    Attributes:
        map: Map of the classes.
        probabilities: Probabilities of all classes, one channel each.
        polygons: Polygons of the classes but the background.
        min_area: Least area of a polygon, in pixels of the image as it is read.
        in_pixels: Whether polygons are in pixels even if the image lies on the Earth.
    """

    map: Path
    probabilities: Path | None = None
    polygons: Path | None = None
    min_area: float = 0.0
    in_pixels: bool = False

    @property
    def files(self) -> list[Path]:
        """All files."""
        return [path for path in (self.map, self.probabilities, self.polygons) if path is not None]


@dataclass(slots=True)
class MapWriter:
    """Takes strips of cells from top to bottom and writes them; see `write_maps`.

    Attributes:
        grid: Groups and patches over the image.
        cell: Pixels per side of a cell.
        classes, probabilities: Images that are written.
        tracer, features: Polygons of the map, and their file; None without.
        factor: (across, down) pixels of the file, or of the slide of features, per pixel of the image as it is read.
        row_areas: Square metres of a pixel of each row of the image; None if unknown.
        areas: Number of pixels by class number; `NOT_SEEN` for those that were left out.
        square_metres: Area on the ground by class number; 0 if unknown.
    """

    grid: PatchGrid
    cell: int
    classes: ImageWriter
    probabilities: ImageWriter | None
    tracer: Tracer | None
    features: FeatureWriter | None
    factor: tuple[float, float] = (1, 1)
    row_areas: NDArray[np.float64] | None = None
    areas: NDArray[np.int64] = field(default_factory=lambda: np.zeros(256, np.int64))
    square_metres: NDArray[np.float64] = field(default_factory=lambda: np.zeros(256))

    def take(self, row: int, cells: NDArray[Any]) -> None:
        """Write the cells [rows columns values] of a row of groups: the class, and perhaps the probabilities."""
        window = self.grid.window(row, 0)
        window = replace(window, width=self.grid.size[1]).clip(*self.grid.size)
        numbers = np.ascontiguousarray(cells[..., 0])
        self._add_areas(numbers, window)
        self.classes.write(window, pixels_of(numbers, self.cell, window.height, window.width)[..., None])
        if self.probabilities is not None:
            shares = np.where(numbers[..., None] == NOT_SEEN, np.uint8(0), cells[..., 1:])
            self.probabilities.write(window, pixels_of(shares, self.cell, window.height, window.width))
        if self.tracer is not None and self.features is not None:
            self._write(self.tracer.add(numbers))

    def finish(self) -> None:
        """Write the polygons that reach the lower edge."""
        if self.tracer is not None and self.features is not None:
            self._write(self.tracer.finish())

    @property
    def known_square_metres(self) -> NDArray[np.float64] | None:
        """Area on the ground by class number; None if unknown."""
        return None if self.row_areas is None else self.square_metres

    def _add_areas(self, numbers: NDArray[np.uint8], window: Window) -> None:
        """Add the areas of cells [rows columns] in a window. The last cells may be smaller."""
        rows, columns = (np.arange(0, side, self.cell) for side in (window.height, window.width))
        widths = np.minimum(self.cell, window.width - columns)
        self.areas += _sums(numbers, np.minimum(self.cell, window.height - rows), widths).astype(np.int64)
        if self.row_areas is not None:
            areas = self.row_areas[window.top : window.top + window.height]
            self.square_metres += _sums(numbers, np.add.reduceat(areas, rows), widths)

    def _write(self, polygons: Iterator[Polygon]) -> None:
        assert self.features is not None
        self.features.write(polygons if self.factor == (1, 1) else (_scaled(each, self.factor) for each in polygons))


def _sums(numbers: NDArray[np.uint8], heights: NDArray[Any], widths: NDArray[Any]) -> NDArray[np.float64]:
    """Return the sum of height times width of the cells [rows columns] of each class number [256]."""
    return np.asarray(np.bincount(numbers.reshape(-1), np.outer(heights, widths).reshape(-1), 256), np.float64)


@contextmanager
def write_maps(
    outputs: SegmentOutputs, info: ImageInfo, stored: ImageInfo, table: ClassTable, grid: PatchGrid, cell: int
) -> Iterator[MapWriter]:
    """Open the files of an image. All appear when the context ends, and none after an error.

    Args:
        outputs: The files.
        info: Description of the image as it is read; maps have its size.
        stored: Description of level 0 of its file, whose pixels polygons are in, or those of the slide of features.
        table: Names, values and colours of the classes.
        grid: Groups and patches over the image.
        cell: Pixels per side of a cell.

    Raises:
        ImageError, FitError: A file cannot be written.
    """
    table = with_colors(table)
    with published_together(outputs.files), ExitStack() as stack:
        classes = stack.enter_context(
            create_layer(
                outputs.map,
                replace(_info(info, 1, NOT_SEEN), palette=_palette(table)),
                outside=NOT_SEEN,
                resampling="nearest",
                memory_bytes=WRITER_BYTES,
                description=legend(table),
                classes=table.names,
            )
        )
        probabilities = None
        if outputs.probabilities is not None:
            probabilities = stack.enter_context(
                create_layer(
                    outputs.probabilities,
                    _info(info, len(table.names)),
                    memory_bytes=WRITER_BYTES,
                    compression=_lossless(outputs),
                    description=f"probability of {', '.join(table.names)}: 255 stands for 1; all 0 if not looked at",
                )
            )
        tracer = features = None
        if outputs.polygons is not None:
            untraced = [number for number, name in enumerate(table.names) if is_background(name)]
            tracer = Tracer(-(-info.width // cell), cell, info.size, untraced, outputs.min_area)
            features = stack.enter_context(open_features(outputs.polygons, table, stored, outputs.in_pixels))
        factor = (stored.width / info.width, stored.height / info.height)
        if info.features is not None:
            factor = (info.features.side, info.features.side)
        row_areas = None if info.geo is None else pixel_areas(info.geo, info.height)
        writer = MapWriter(grid, cell, classes, probabilities, tracer, features, factor, row_areas)
        yield writer
        writer.finish()


def _scaled(polygon: Polygon, factor: tuple[float, float]) -> Polygon:
    """Return a polygon in pixels of another size."""
    rings = tuple(ring * np.array(factor) for ring in polygon.rings)
    return replace(polygon, rings=rings, area=polygon.area * factor[0] * factor[1])


def _palette(table: ClassTable) -> tuple[Color, ...]:
    """Return the colours of all values of a map; white for cells that were not looked at."""
    colors = [color or WHITE for color in table.colors]
    return (*colors, *[WHITE] * (NOT_SEEN + 1 - len(colors)))


def legend(table: ClassTable) -> str:
    """Return the meaning of the values of a map as one line, for the metadata of its file."""
    named = [f"{number}={name}" for number, name in enumerate(table.names)]
    return f"classes: {', '.join(named)}; {NOT_SEEN}=not looked at"


def map_bytes(outputs: SegmentOutputs, info: ImageInfo, grid: PatchGrid, classes: int) -> int:
    """Return roughly how much memory `write_maps` takes, in bytes."""
    strip = min(grid.group_pixels, info.height) * info.width
    total = writing_bytes(outputs.map, layer_info(_info(info, 1))) + 4 * strip
    if outputs.probabilities is not None:
        total += writing_bytes(outputs.probabilities, layer_info(_info(info, classes))) + 3 * classes * strip
    if outputs.polygons is not None:
        total += TRACING_BYTES
    return total


def _info(info: ImageInfo, channels: int, nodata: int | None = None) -> ImageInfo:
    return info.layer(channels, np.uint8, nodata=nodata)


def _lossless(outputs: SegmentOutputs) -> Any:
    assert outputs.probabilities is not None
    return "deflate" if outputs.probabilities.suffix.lower() in (".tif", ".tiff") else None


def named_areas(
    areas: NDArray[np.int64], table: ClassTable, mpp: float | None, square_metres: NDArray[np.float64] | None = None
) -> dict[str, dict[str, float]]:
    """Return the area of each class: pixels, share of what was looked at and, if known, its size.

    Args:
        areas: Number of pixels by class number.
        table: Names of the classes.
        mpp: Microns per pixel, for areas in square millimetres; None if unknown.
        square_metres: Area on the ground by class number; None if unknown.
    """
    seen = max(1, int(areas[: len(table.names)].sum()))
    return {
        name: {"pixels": int(count), "share": int(count) / seen}
        | ({} if mpp is None else {"square_millimetres": int(count) * mpp**2 / 1e6})
        | ({} if square_metres is None else {"square_metres": float(square_metres[number])})
        for number, (name, count) in enumerate(zip(table.names, areas.tolist(), strict=False))
    }
