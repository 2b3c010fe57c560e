"""Gives every class a colour, so that maps, polygons and pictures of one run agree."""

from __future__ import annotations

import colorsys
from dataclasses import replace

from fitcli.annotations.class_table import ClassTable, Color

DISTINCT: tuple[Color, ...] = (
    (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167),
)  # fmt: skip
"""Colours that colour-blind people tell apart (Okabe and Ito 2008, "Color Universal Design")."""

BACKGROUND = "background"
"""Name of the class of what nobody looks for, in lower case."""

BACKGROUND_COLOR: Color = (60, 60, 60)

GOLDEN = 0.61803398875
"""Step of the hue of further colours: any number of them stays spread."""


def is_background(name: str) -> bool:
    """Return whether a class is the background."""
    return name.lower() == BACKGROUND


def with_colors(table: ClassTable) -> ClassTable:
    """Return a table in which every class has a colour: its own, or one by its number among those without."""
    colors, used = [], 0
    for name, color in zip(table.names, table.colors, strict=True):
        if color is None and is_background(name):
            color = BACKGROUND_COLOR
        elif color is None:
            color, used = _numbered(used), used + 1
        colors.append(color)
    return replace(table, colors=tuple(colors))


def _numbered(number: int) -> Color:
    if number < len(DISTINCT):
        return DISTINCT[number]
    further = number - len(DISTINCT)
    red, green, blue = colorsys.hsv_to_rgb(
        further * GOLDEN % 1, 0.75 - 0.3 * (further % 2), 0.9 - 0.3 * (further % 3 == 2)
    )
    return round(255 * red), round(255 * green), round(255 * blue)
