"""Presents the polygons of a file as an image of class numbers.

- Later polygons of the file cover earlier ones.
- What no polygon covers is ignored, or of the class that `rules.elsewhere` names. A polygon of the class "Region" (also
  "Region*", "region 2") says that all of it is annotated: what no other polygon covers there is background. This is
  the class `rules.elsewhere`, else the one that is called background.
- Polygons of a class whose name ends with `*`, such as QuPath's "Ignore*", are ignored. A name of the table always is
  that class.
- Polygons without a class are of the class "object" if the file has no other class. Otherwise they are an error.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fitcli.annotations.affine_map import IDENTITY
from fitcli.annotations.class_table import IGNORED, ClassTable
from fitcli.annotations.label_rules import LabelRules
from fitcli.annotations.polygon_collector import UNCLASSIFIED
from fitcli.annotations.polygon_file import PolygonFile, read_polygon_file
from fitcli.annotations.polygon_placement import outside_count, place_polygons
from fitcli.annotations.rasterize import rasterize
from fitcli.errors import ImageError
from fitcli.files.spelling import composed
from fitcli.files.wording import counted
from fitcli.images.base import ImageInfo, ImageReader, Pixels
from fitcli.images.window import Window

ONLY_KIND = "object"
"""Class of the polygons of a file in which none has a class."""

REGION = re.compile(r"region(?![a-z])", re.IGNORECASE)
"""Beginning of the names of classes that say: annotated here."""

NAMED = 5
"""Unknown classes that a message names."""


class PolygonLabels(ImageReader):
    """Reads windows of class numbers, `IGNORED` where there is none: one channel of uint8, of the size of an image.

    Args:
        path: The file of polygons.
        image: The open image that it belongs to, which may be a level or rescaled.
        table: The classes.
        rules: Rules by which labels are read.

    Attributes:
        notes: Kinds of objects that were left out, with counts, one line each.

    Raises:
        ImageError: The file cannot be read, names unknown classes, or its polygons lie elsewhere.
    """

    def __init__(self, path: Path, image: ImageReader, table: ClassTable, rules: LabelRules) -> None:
        self.path = path
        self.info = ImageInfo(
            height=image.info.height,
            width=image.info.width,
            channels=1,
            dtype=np.dtype(np.uint8),
            mpp=image.info.mpp,
            format="GeoJSON",
            nodata=IGNORED,
            geo=image.info.geo,
        )
        self._file: PolygonFile | None = read_polygon_file(path)
        self._is_closed = False
        content = self._file.content
        numbers = _class_numbers(path, _counts(content.classes, content.names), table.names)
        self._fill, ground = _background(path, None in numbers, table.names, rules.elsewhere)
        self._values = np.array([ground if each is None else each for each in numbers], np.uint8)
        self._is_region = np.array([each is None for each in numbers], np.bool_)
        self._where = IDENTITY
        self.notes = content.notes
        if len(content.polygons):
            file = self._file
            self._where = place_polygons(path, content.crs, file.index, file.boxes, image)
            outside = outside_count(file.boxes, self._where, image)
            self.notes += (f"{counted(outside, 'polygon')} outside of {image.path} left out",) if outside else ()

    def read(self, window: Window, level: int = 0) -> Pixels:
        if self._is_closed:
            raise ImageError(self.path, "has been closed; open it again to read from it")
        if level != 0:
            raise ImageError(self.path, f"has no level {level}, only level 0")
        window = window.clip(*self.info.size)
        file = self._file or read_polygon_file(self.path)
        self._file = file
        if not len(file.content.polygons) or window.area == 0:
            return np.full((window.height, window.width, 1), self._fill, np.uint8)
        box = self._where.inverse().box(window.left, window.top, window.right, window.bottom)
        numbers = file.index.query(*box)
        classes = file.content.classes[numbers]
        # Regions lie below all other polygons.
        order = np.argsort(~self._is_region[classes], kind="stable")
        numbers, classes = numbers[order], classes[order]
        polygons = file.content.polygons.take(numbers).mapped(self._where)
        pixels = rasterize(polygons, self._values[classes], window, self._fill, self._where.mirrors)
        return pixels[:, :, None]

    def close(self) -> None:
        self._is_closed, self._file = True, None

    def __getstate__(self) -> dict[str, Any]:
        # Another process reads the file itself.
        return {**self.__dict__, "_file": None}


def polygon_names(path: Path) -> dict[str, int]:
    """Return the names of the classes of a file, in their order in the file, with their numbers of polygons.

    Regions and ignored classes are none of them.

    Raises:
        ImageError: The file cannot be read, or some of its polygons have no class.
    """
    content = read_polygon_file(path).content
    counts = _with_only_kind(_counts(content.classes, content.names))
    _check_unclassified(path, counts)
    return {name: count for name, count in counts.items() if not (is_region(name) or is_ignored(name))}


def is_unclassified(path: Path) -> bool:
    """Return whether polygons of a file have no class, so that `polygon_names` calls them `ONLY_KIND`."""
    return UNCLASSIFIED in read_polygon_file(path).content.names


def is_region(name: str) -> bool:
    """Return whether polygons of a class that no table has say what is annotated."""
    return REGION.match(name) is not None


def is_ignored(name: str) -> bool:
    """Return whether polygons of a class that no table has are ignored, as QuPath's exporters do."""
    return name.endswith("*") and not is_region(name)


def _counts(classes: NDArray[np.int32], names: tuple[str, ...]) -> dict[str, int]:
    return dict(zip(names, np.bincount(classes, minlength=len(names)).tolist(), strict=True))


def _with_only_kind(counts: Mapping[str, int]) -> dict[str, int]:
    """Name the polygons without a class if there is no class."""
    others = [name for name in counts if name != UNCLASSIFIED and not is_region(name) and not is_ignored(name)]
    return {(name or (name if others else ONLY_KIND)): count for name, count in counts.items()}


def _check_unclassified(path: Path, counts: Mapping[str, int]) -> None:
    if UNCLASSIFIED in counts:
        raise ImageError(
            path,
            f"has {counted(counts[UNCLASSIFIED], 'polygon')} without a class beside classified ones; give each a "
            "class, or one that ends with * to ignore it",
        )


def _class_numbers(path: Path, counts: Mapping[str, int], names: tuple[str, ...]) -> list[int | None]:
    """Return the number of each class of the file, None for regions."""
    known = {composed(name): number for number, name in enumerate(names)}
    counts = _with_only_kind(counts)
    _check_unclassified(path, counts)
    unknown = {n: count for n, count in counts.items() if n not in known and not is_region(n) and not is_ignored(n)}
    if unknown:
        shown = ", ".join(f"{name!r} ({count:,})" for name, count in list(unknown.items())[:NAMED])
        more = f" and {len(unknown) - NAMED:,} more" if len(unknown) > NAMED else ""
        classes = ", ".join(map(repr, names[:NAMED])) + (", ..." if len(names) > NAMED else "")
        raise ImageError(path, f"has polygons of unknown classes: {shown}{more}; the classes are {classes}")
    return [known.get(name, None if is_region(name) else IGNORED) for name in counts]


def _background(path: Path, has_region: bool, names: tuple[str, ...], elsewhere: str | None) -> tuple[int, int]:
    """Return the number of what no polygon covers, outside and inside of regions."""
    if elsewhere is not None:
        wanted = composed(elsewhere)
        number = next((n for n, name in enumerate(names) if composed(name) == wanted), None)
        if number is None:
            raise ImageError(path, f"cannot be of the class {elsewhere!r} elsewhere: there is no such class")
        return number, number
    if not has_region:
        return IGNORED, IGNORED
    number = next((n for n, name in enumerate(names) if name.casefold() == "background"), None)
    if number is None:
        raise ImageError(
            path,
            "has a region, whose uncovered part is background, but no class is called background; give "
            "the classes with --classes, as in 0=background,1=tumor, or the class of all that no polygon covers with "
            "--elsewhere",
        )
    return IGNORED, number
