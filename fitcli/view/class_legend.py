"""Names and colours of the values of a map of classes, from its palette and its metadata."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fitcli.annotations.class_colors import with_colors
from fitcli.annotations.class_table import MOST_CLASSES, ClassTable, Color
from fitcli.files.path_choice import stored_path
from fitcli.images.base import ImageReader
from fitcli.images.find import is_zarr
from fitcli.images.zarr.image_labels import value_names

ENTRY = re.compile(r"(\d{1,5})=")
"""Beginning of a class in the description that `fit segment` writes: `classes: 0=background, 1=tumor; 255=...`."""


@dataclass(frozen=True, slots=True, eq=False)
class ClassLegend:
    """The classes of a map.

    Attributes:
        names: Name by value.
        colors: Colour by value.
    """

    names: Mapping[int, str]
    colors: Mapping[int, Color]

    def table(self) -> NDArray[np.uint8]:
        """Return red, green, blue and alpha by value [65536 4]; values without a class are transparent."""
        table = np.zeros((1 << 16, 4), np.uint8)
        for value in self.names:
            table[value] = (*self.colors[value], 255)
        return table

    def document(self) -> list[dict[str, Any]]:
        """Return the classes as the page lists them."""
        return [
            {"value": value, "name": name, "color": list(self.colors[value])}
            for value, name in sorted(self.names.items())
        ]


def class_legend(image: ImageReader, found: NDArray[Any]) -> ClassLegend | None:
    """Return the classes of a map; None if the file says of no value that it is a class.

    Args:
        image: The open image, read as indices; one channel of integers.
        found: Values that it holds.
    """
    info = image.info
    if info.channels != 1 or info.dtype.kind not in "uib":
        return None
    stored = stored_path(image.path)
    own = value_names(stored) if is_zarr(stored) else None
    names = dict(own.names) if own is not None else {}
    names = names or described_classes(image.describe_contents().description)
    if not names and not info.palette and not (own and own.colors):
        return None
    values = names or {
        int(value): str(value) for value in np.unique(found) if 0 <= value < 1 << 16 and value != info.nodata
    }
    values = {value: name for value, name in values.items() if 0 <= value < 1 << 16}
    colors = {value: info.palette[value] for value in values if value < len(info.palette)}
    colors |= {value: color for value, color in (own.colors if own is not None else {}).items() if value in values}
    missing = [value for value in sorted(values) if value not in colors]
    return ClassLegend(values, colors | dict(zip(missing, distinct_colors([values[v] for v in missing]), strict=True)))


def described_classes(text: str) -> dict[int, str]:
    """Return the names of values that the description of a map states, as `fit segment` writes it."""
    if not text.startswith("classes: "):
        return {}
    listed = text.removeprefix("classes: ").partition(";")[0]
    starts = [match for match in ENTRY.finditer(listed) if match.start() == 0 or listed[: match.start()].endswith(", ")]
    stops = [*(match.start() - 2 for match in starts[1:]), len(listed)][: len(starts)]
    return {int(match[1]): listed[match.end() : stop] for match, stop in zip(starts, stops, strict=True)}


def distinct_colors(names: list[str]) -> list[Color]:
    """Return a colour for each name, as maps and polygons have them."""
    colors: list[Color] = []
    for first in range(0, len(names), MOST_CLASSES):
        part = names[first : first + MOST_CLASSES]
        # The name counts for the background alone. Empty and equal names are no classes of a table.
        unique = tuple(
            name if name.lower() == "background" and part.index(name) == n else f"{n}" for n, name in enumerate(part)
        )
        table = with_colors(ClassTable(unique, tuple(range(len(part)))))
        colors += [color for color in table.colors if color is not None]
    return colors
