"""Draws the legend of a heat map: what is shown, for which class, and the colours with their numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fitcli.images.text import draw_text, fitting_text, text_width
from fitcli.tasks.classify.color_scale import ColorScale

NARROWEST, LINES, MARGIN = 440, 5.2, 0.6
"""Smallest width of a legend in pixels, its height in lines of text, and its margin in lines."""

GAP = 6
"""Smallest distance between two numbers, in pixels."""

GROUND, INK = (24, 24, 24), (235, 235, 235)
"""Colours of the ground and of the text."""

MIDDLE_GREY = 128.0
"""Brightness of the image under the colours of a legend."""

LEFT_OUT = "not looked at"
"""Words for places without a value."""


def legend(width: int, title: str, scale: ColorScale) -> NDArray[np.uint8]:
    """Draw a legend [height width 3], at least `NARROWEST` pixels wide.

    Args:
        width: Width of the picture that it belongs to, in pixels.
        title: Content of the picture. Letters that the font lacks are drawn as question marks.
        scale: Colours and numbers.
    """
    height, width = legend_size(width)
    line = _line(width)
    margin, top, thick = round(MARGIN * line), round(1.7 * line), round(1.3 * line)
    drawn = np.full((height, width, 3), GROUND, np.uint8)
    draw_text(drawn, fitting_text(title, line, width - 2 * margin), (margin // 2, margin), line, INK)
    swatch = text_width(LEFT_OUT, line)
    bar, rows, below = width - 4 * margin - swatch, slice(top, top + thick), top + thick + 2
    reach = np.linspace(-1 if scale.range[0] < 0 else 0, 1, bar, dtype=np.float32)
    values = np.copysign(np.expm1(np.abs(reach) * np.log1p(np.float32(scale.range[1]))), reach)
    drawn[rows, margin : margin + bar] = _colors(values, thick, scale)
    last = width - margin - swatch
    drawn[rows, last : last + swatch] = _colors(np.full(swatch, np.nan, np.float32), thick, scale)
    draw_text(drawn, LEFT_OUT, (below, last), line, INK)
    _draw_ticks(drawn, scale, line, margin, bar, below)
    return drawn


def legend_size(width: int) -> tuple[int, int]:
    """Return height and width of the legend of a picture of this width."""
    width = max(width, NARROWEST)
    return round(LINES * _line(width)), width


def _line(width: int) -> int:
    """Return the height of a line of text in pixels."""
    return max(14, width // 72)


def _colors(values: NDArray[np.float32], thick: int, scale: ColorScale) -> NDArray[np.uint8]:
    """Draw values as they look over a grey image [thick length 3]."""
    grey = np.full((thick, len(values), 1), MIDDLE_GREY, np.float32)
    return np.rint(scale.blend(grey, np.broadcast_to(values, (thick, len(values))))).astype(np.uint8)


def _draw_ticks(drawn: NDArray[np.uint8], scale: ColorScale, line: int, margin: int, bar: int, below: int) -> None:
    """Write the numbers under the bar: the ends, then from 0 on; a number without room is left out."""
    places = scale.position(np.array(scale.ticks, np.float32)).tolist()
    ticks = sorted(zip(scale.ticks, places, strict=True), key=lambda tick: (tick[0] not in scale.range, abs(tick[0])))
    taken: list[tuple[int, int]] = []
    for value, place in ticks:
        x = margin + round(place * (bar - 1))
        text = f"{value:g}" + (f" {scale.notes[value]}" if value in scale.notes else "")
        wide = text_width(text, line)
        left = min(max(x - wide // 2, margin), margin + bar - wide)
        if any(left < stop + GAP and start < left + wide + GAP for start, stop in taken):
            continue
        taken.append((left, left + wide))
        drawn[below - 2 : below + 2, x] = INK
        draw_text(drawn, text, (below, left), line, INK)
