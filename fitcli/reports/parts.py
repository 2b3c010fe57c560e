"""The parts that a report consists of. Tasks give them, `markup.py` turns them into HTML.

All texts are plain: markup in them is shown as it stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Style = Literal["line", "faint", "dashed", "steps", "points", "bars"]
"""How the values of a series are drawn."""

RGB = tuple[int, int, int]
"""Red, green and blue, 0 to 255."""


@dataclass(frozen=True, slots=True)
class Facts:
    """A few important numbers, shown large.

    Attributes:
        items: Name and value of each.
    """

    items: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Lines:
    """Lines of text.

    Attributes:
        items: The lines.
        warns: Whether they are warnings.
    """

    items: Sequence[str]
    warns: bool = False


@dataclass(frozen=True, slots=True)
class DataTable:
    """A table.

    Attributes:
        caption: Content of the table.
        columns: Headings.
        rows: Cells as text. The first cell of a row is its heading.
    """

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class CountMatrix:
    """Counts by truth (row) and answer (column), shaded by their share of the row.

    Attributes:
        caption: Content of the table.
        names: Names of rows and columns.
        counts: [k k].
    """

    caption: str
    names: Sequence[str]
    counts: Sequence[Sequence[int]]


@dataclass(frozen=True, slots=True)
class ChartSeries:
    """Values of a chart.

    Attributes:
        name: Name in the legend.
        x, y: The values; those that are not finite are left out.
        style: How they are drawn.
        color: Number of the colour; None for that of the place of the series in the chart.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    style: Style = "line"
    color: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Chart:
    """A chart with two axes.

    Attributes:
        title: Title.
        x, y: Names of the axes, with units.
        series: The values.
        x_range, y_range: Ends of the axes; None for those of the values.
        log_y: Whether the vertical axis is logarithmic, where all values are above zero.
        text: Explanation below the chart.
    """

    title: str
    x: str
    y: str
    series: Sequence[ChartSeries]
    x_range: tuple[float, float] | None = None
    y_range: tuple[float, float] | None = None
    log_y: bool = False
    text: str = ""


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture.

    Attributes:
        pixels: [height width 3].
        caption: Content of the picture.
        flat: Whether it has few colours and sharp edges, as maps do.
        crop: Whether it is a part of an image that stays small.
    """

    pixels: NDArray[np.uint8]
    caption: str
    flat: bool = False
    crop: bool = False


@dataclass(frozen=True, slots=True)
class Case:
    """An image with what a model found in it.

    Attributes:
        title: Name of the image.
        text: Truth, answer and score.
        pictures: Pictures of it, side by side.
    """

    title: str
    text: str
    pictures: Sequence[Picture]


@dataclass(frozen=True, slots=True)
class Gallery:
    """Images, one after the other.

    Attributes:
        caption: Description of the images.
        cases: The images.
    """

    caption: str
    cases: Sequence[Case]


@dataclass(frozen=True, slots=True)
class ColorKey:
    """The meaning of colours.

    Attributes:
        items: Each colour with its name.
    """

    items: Sequence[tuple[RGB, str]]


Part = Facts | Lines | DataTable | CountMatrix | Chart | Gallery | ColorKey


@dataclass(frozen=True, slots=True)
class Section:
    """Parts under a heading.

    Attributes:
        title: The heading.
        parts: The parts; a section without any is left out.
    """

    title: str
    parts: Sequence[Part]
