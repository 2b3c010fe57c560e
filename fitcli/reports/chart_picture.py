"""Draws charts as a picture, for places that show no HTML."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fitcli.images.line_drawing import draw_dots, draw_line, draw_lines
from fitcli.images.text import draw_text, fitting_text, text_width
from fitcli.reports.parts import RGB, Chart, Style
from fitcli.reports.plot import Placed, Plot, place_chart

WIDTH, HEIGHT = 640, 400
"""Size of a chart in pixels."""

LEFT, TOP, RIGHT, BOTTOM = 66, 60, 22, 50
"""Margins around the rectangle between the axes, in pixels."""

TITLE, TEXT = 18, 14
"""Heights of lines of text in pixels."""

COLORS: tuple[RGB, ...] = (
    (0, 114, 178), (213, 94, 0), (0, 158, 115), (168, 85, 155), (176, 122, 0), (58, 63, 158), (107, 118, 128),
)  # fmt: skip
INK, SOFT, LINE, GROUND = (28, 33, 38), (91, 102, 112), (217, 222, 227), (255, 255, 255)
"""Colours: those of the page in a light room."""

SWATCH = 18
"""Length of a line of the legend in pixels."""


def charts_picture(charts: Sequence[Chart], columns: int = 2) -> NDArray[np.uint8]:
    """Return charts side by side, [height width 3]."""
    rows = -(-len(charts) // columns)
    whole = np.full((rows * HEIGHT, min(columns, len(charts)) * WIDTH, 3), GROUND, np.uint8)
    for number, chart in enumerate(charts):
        top, left = number // columns * HEIGHT, number % columns * WIDTH
        whole[top : top + HEIGHT, left : left + WIDTH] = chart_picture(chart)
    return whole


def chart_picture(chart: Chart) -> NDArray[np.uint8]:
    """Return a chart, [height width 3]."""
    pixels = np.full((HEIGHT, WIDTH, 3), GROUND, np.uint8)
    plot = place_chart(chart, LEFT, TOP, WIDTH - RIGHT, HEIGHT - BOTTOM)
    _draw_axes(pixels, plot)
    for placed in plot.placed:
        _draw_series(pixels, placed, plot)
    draw_text(pixels, fitting_text(chart.title, TITLE, WIDTH - LEFT - RIGHT), (10, LEFT), TITLE, INK)
    label = fitting_text(chart.x, TEXT, WIDTH - LEFT - RIGHT)
    middle = (LEFT + WIDTH - RIGHT) // 2
    draw_text(pixels, label, (HEIGHT - 22, middle - text_width(label, TEXT) // 2), TEXT, SOFT)
    _draw_key(pixels, plot)
    return pixels


def _draw_axes(pixels: NDArray[np.uint8], plot: Plot) -> None:
    lines = [np.array([[plot.left, place], [plot.right, place]]) for place, _ in plot.y_ticks]
    lines += [np.array([[place, plot.top], [place, plot.bottom]]) for place, _ in plot.x_ticks]
    draw_lines(pixels, lines, LINE, 1)
    for place, text in plot.y_ticks:
        where = (round(place) - TEXT // 2 - 1, LEFT - 8 - text_width(text, TEXT))
        draw_text(pixels, text, where, TEXT, SOFT)
    for place, text in plot.x_ticks:
        draw_text(pixels, text, (HEIGHT - BOTTOM + 6, round(place) - text_width(text, TEXT) // 2), TEXT, SOFT)
    corner = np.array([[plot.left, plot.top], [plot.left, plot.bottom], [plot.right, plot.bottom]])
    draw_line(pixels, corner, SOFT, 1)


def _draw_series(pixels: NDArray[np.uint8], placed: Placed, plot: Plot) -> None:
    style, color = placed.series.style, COLORS[placed.color % len(COLORS)]
    if style in ("points", "bars") or len(placed.points) == 1:
        draw_dots(pixels, placed.points, color, 3)
        return
    points = placed.points
    if style == "steps":
        corners = np.stack([points[1:, 0], points[:-1, 1]], axis=1)
        points = np.concatenate([points[:1], np.stack([corners, points[1:]], axis=1).reshape(-1, 2)])
    draw_line(pixels, points, *_pen(style, color))


def _pen(style: Style, color: RGB) -> tuple[RGB, float]:
    """Return colour and width of the line of a style."""
    if style == "faint":
        red, green, blue = (round(0.35 * value + 0.65 * 255) for value in color)
        return (red, green, blue), 1
    return color, 1.3 if style == "dashed" else 2


def _draw_key(pixels: NDArray[np.uint8], plot: Plot) -> None:
    """Draw the legend in the line below the title; names without room are left out."""
    column, row = LEFT, 36
    for placed in plot.placed:
        name = fitting_text(placed.series.name, TEXT, 180)
        wide = SWATCH + 6 + text_width(name, TEXT)
        if not name or column + wide > WIDTH - RIGHT:
            continue
        ends = np.array([[column, row + 9], [column + SWATCH, row + 9]], np.float64)
        color, width = _pen(placed.series.style, COLORS[placed.color % len(COLORS)])
        draw_line(pixels, ends, color, width + 1)
        draw_text(pixels, name, (row, column + SWATCH + 6), TEXT, INK)
        column += wide + 16
