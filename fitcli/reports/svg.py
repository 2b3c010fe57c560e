"""Draws charts as SVG, with the colours of the style sheet of the page."""

from __future__ import annotations

from itertools import count

from fitcli.reports.escape import escaped
from fitcli.reports.parts import Chart
from fitcli.reports.plot import Floats, Placed, Plot, place_chart

WIDTH, HEIGHT = 460, 290
"""Size of a chart, in units of its drawing."""

LEFT, TOP, RIGHT, BOTTOM = 72, 12, 14, 44
"""Margins around the rectangle between the axes."""

COLORS = 7
"""Number of colours of the style sheet."""

RADIUS = 2.6
"""Radius of a point."""

MOST_DOTS = 2000
"""Most points of a series that are drawn as dots."""

SAID = 6
"""Most series that the description of a chart names."""

_numbers = count(1)


def svg(chart: Chart) -> str:
    """Return a chart as an SVG element, with a title and a description for those who cannot see it."""
    plot = place_chart(chart, LEFT, TOP, WIDTH - RIGHT, HEIGHT - BOTTOM)
    number = next(_numbers)
    parts = [
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-labelledby="t{number} d{number}">',
        f'<title id="t{number}">{escaped(chart.title)}</title>',
        f'<desc id="d{number}">{escaped(description(chart))}</desc>',
        *_grid(plot),
        *(drawn for placed in plot.placed for drawn in _series(placed, plot)),
        f'<text class="axis" x="{(plot.left + plot.right) / 2:.1f}" y="{HEIGHT - 6}">{escaped(chart.x)}</text>',
        f'<text class="axis" transform="translate(13 {(plot.top + plot.bottom) / 2:.1f}) rotate(-90)">'
        f"{escaped(chart.y)}</text>",
        "</svg>",
    ]
    return "".join(parts)


def description(chart: Chart) -> str:
    """Return in words where each series begins and ends."""
    words = [f"{chart.y} by {chart.x}."]
    for series in [each for each in chart.series if len(each.x)][:SAID]:
        ends = (series.x[0], series.y[0], series.x[-1], series.y[-1])
        words.append("{}: {:.4g}, {:.4g} to {:.4g}, {:.4g}.".format(series.name, *ends))
    return " ".join(words)


def _grid(plot: Plot) -> list[str]:
    left, right, top, bottom = plot.left, plot.right, plot.top, plot.bottom
    drawn = []
    for place, text in plot.y_ticks:
        drawn.append(f'<path class="grid" d="M{left} {place:.1f}H{right}"/>')
        drawn.append(f'<text class="y" x="{left - 6}" y="{place + 4:.1f}">{text}</text>')
    for place, text in plot.x_ticks:
        drawn.append(f'<path class="grid" d="M{place:.1f} {top}V{bottom}"/>')
        drawn.append(f'<text class="x" x="{place:.1f}" y="{bottom + 16}">{text}</text>')
    return [*drawn, f'<path class="frame" d="M{left} {top}V{bottom}H{right}"/>']


def _series(placed: Placed, plot: Plot) -> list[str]:
    style, color, points = placed.series.style, f"c{placed.color % COLORS}", placed.points
    if style == "bars":
        half = plot.bar / 2
        return [
            f'<rect class="{color} bar" x="{x - half:.1f}" y="{y:.1f}" width="{plot.bar:.1f}" '
            f'height="{max(0.0, plot.bottom - y):.1f}"/>'
            for x, y in points.tolist()
        ]
    if style == "points":
        step = -(-len(points) // MOST_DOTS)
        return [
            f'<circle class="{color} dot" cx="{x:.1f}" cy="{y:.1f}" r="{RADIUS}"/>' for x, y in points[::step].tolist()
        ]
    drawn = f'<path class="{color} {style}" d="{_path(points, style == "steps")}"/>'
    # A line of one point would not be seen.
    x, y = points[0].tolist()
    return [drawn] if len(points) > 1 else [f'<circle class="{color} dot" cx="{x:.1f}" cy="{y:.1f}" r="{RADIUS}"/>']


def _path(points: Floats, steps: bool) -> str:
    (x, y), *others = points.tolist()
    moves = [f"M{x:.1f} {y:.1f}"]
    moves += [f"H{x:.1f}V{y:.1f}" if steps else f"L{x:.1f} {y:.1f}" for x, y in others]
    return "".join(moves)
