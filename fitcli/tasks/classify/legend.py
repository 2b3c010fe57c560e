"""Draws the legend of a heat map: what is shown, for which class, and the colours with their numbers."""

from __future__ import annotations

import unicodedata

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from fitcli.tasks.classify.color_scale import ColorScale

NARROWEST, LINES, MARGIN = 440, 5.2, 0.6
"""Smallest width of a legend in pixels, its height in lines of text, and its margin in lines."""

GAP = 6
"""Smallest distance between two numbers, in pixels."""

GROUND, INK = (24, 24, 24), (235, 235, 235)
"""Colours of the ground and of the text."""

MIDDLE_GREY = 128.0
"""Brightness of the image under the colours of a legend."""

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

LEFT_OUT = "not looked at"
"""Word for places without a value."""


def legend(width: int, title: str, scale: ColorScale) -> NDArray[np.uint8]:
    """Draw a legend [height width 3], at least `NARROWEST` pixels wide.

    Args:
        width: Width of the picture that it belongs to, in pixels.
        title: What the picture shows. Letters that the font lacks are drawn as question marks.
        scale: Colours and numbers.
    """
    width = max(width, NARROWEST)
    line = _line(width)
    font, margin = ImageFont.load_default(line), round(MARGIN * line)
    picture = Image.new("RGB", (width, round(LINES * line)), GROUND)
    draw = ImageDraw.Draw(picture)
    swatch = int(font.getlength(LEFT_OUT))
    bar = width - 4 * margin - swatch
    draw.text((margin, margin // 2), _fitting(title, font, width - 2 * margin), INK, font)
    low = -1 if scale.range[0] < 0 else 0
    top, thick = round(1.7 * line), round(1.3 * line)
    picture.paste(
        Image.fromarray(_colors(bar, thick, scale, np.linspace(low, 1, bar, dtype=np.float32))), (margin, top)
    )
    picture.paste(Image.fromarray(_colors(swatch, thick, scale, None)), (width - margin - swatch, top))
    below = top + thick + 2
    draw.text((width - margin - swatch, below), LEFT_OUT, INK, font)
    _draw_ticks(draw, font, scale, margin, bar, below)
    return np.asarray(picture)


def _draw_ticks(draw: ImageDraw.ImageDraw, font: Font, scale: ColorScale, margin: int, bar: int, below: int) -> None:
    """Write the numbers under the bar: the ends, then from 0 on; a number without room is left out."""
    places = scale.position(np.array(scale.ticks, np.float32)).tolist()
    ticks = sorted(zip(scale.ticks, places, strict=True), key=lambda tick: (tick[0] not in scale.range, abs(tick[0])))
    taken: list[tuple[float, float]] = []
    for value, place in ticks:
        x = margin + place * (bar - 1)
        text = f"{value:g}" + (f" {scale.notes[value]}" if value in scale.notes else "")
        wide = font.getlength(text)
        left = min(max(x - wide / 2, margin), margin + bar - wide)
        if any(left < stop + GAP and start < left + wide + GAP for start, stop in taken):
            continue
        taken.append((left, left + wide))
        draw.line((x, below - 2, x, below + 1), INK)
        draw.text((left, below), text, INK, font)


def legend_size(width: int) -> tuple[int, int]:
    """Return height and width of the legend of a picture of this width."""
    width = max(width, NARROWEST)
    return round(LINES * _line(width)), width


def _line(width: int) -> int:
    """Return the height of a line of text in pixels."""
    return max(14, width // 72)


def _colors(length: int, thick: int, scale: ColorScale, reach: NDArray[np.float32] | None) -> NDArray[np.uint8]:
    """Draw colours as they look over a grey image [thick length 3]: by signed places from 0; None for no value."""
    if reach is None:
        values = np.full(length, np.nan, np.float32)
    else:
        values = np.copysign(np.expm1(np.abs(reach) * np.log1p(np.float32(scale.range[1]))), reach)
    grey = np.full((thick, length, 1), MIDDLE_GREY, np.float32)
    return np.rint(scale.blend(grey, np.broadcast_to(values, (thick, length)))).astype(np.uint8)


def _fitting(text: str, font: Font, width: int) -> str:
    """Return a text in letters of the font (ASCII), cut where it would be wider than `width` pixels."""
    # A letter is a pixel wide at least.
    plain = "".join(
        letter for letter in unicodedata.normalize("NFKD", text[: 2 * width]) if not unicodedata.combining(letter)
    )
    plain = "".join(letter if letter.isascii() and letter.isprintable() else "?" for letter in plain)
    if len(plain) <= width and font.getlength(plain) <= width:
        return plain
    plain = plain[:width]
    while plain and font.getlength(plain + "...") > width:
        plain = plain[:-1]
    return plain + "..."
