"""Draws the legend of a heat map: what is shown, for which class, and the colours with their numbers."""

from __future__ import annotations

import unicodedata

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from fitcli.tasks.classify.color_scale import ColorScale

NARROWEST, LINES, MARGIN = 360, 5.2, 0.6
"""Smallest width of a legend in pixels, its height in lines of text, and its margin in lines."""

GROUND, INK = (24, 24, 24), (235, 235, 235)
"""Colours of the ground and of the text."""

MIDDLE_GREY = 128.0
"""Brightness of the image under the colours of a legend."""

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
    line = max(12, width // 80)
    font, margin = ImageFont.load_default(line), round(MARGIN * line)
    picture = Image.new("RGB", (width, round(LINES * line)), GROUND)
    draw = ImageDraw.Draw(picture)
    swatch = int(font.getlength(LEFT_OUT))
    bar = width - 4 * margin - swatch
    draw.text((margin, margin // 2), _fitting(title, font, width - 2 * margin), INK, font)
    top, thick = round(1.7 * line), round(1.3 * line)
    picture.paste(Image.fromarray(_bar(bar, thick, scale)), (margin, top))
    grey = round(MIDDLE_GREY)
    draw.rectangle((width - margin - swatch, top, width - margin - 1, top + thick - 1), (grey, grey, grey))
    below = top + thick + 2
    draw.text((width - margin - swatch, below), LEFT_OUT, INK, font)
    places = scale.position(np.array(scale.ticks, np.float32)).tolist()
    for value, place in zip(scale.ticks, places, strict=True):
        x = margin + place * (bar - 1)
        draw.line((x, top + thick, x, below + 1), INK)
        text = f"{value:g}" + (f" {scale.notes[value]}" if value in scale.notes else "")
        left = min(max(x - font.getlength(text) / 2, margin), margin + bar - font.getlength(text))
        draw.text((left, below), text, INK, font)
    return np.asarray(picture)


def legend_size(width: int) -> tuple[int, int]:
    """Return height and width of the legend of a picture of this width."""
    width = max(width, NARROWEST)
    return round(LINES * max(12, width // 80)), width


def _bar(length: int, thick: int, scale: ColorScale) -> NDArray[np.uint8]:
    """Draw the colours from the lowest value to the highest [thick length 3], as they look over a grey image."""
    low = -1.0 if scale.range[0] < 0 else 0.0
    reach = np.linspace(low, 1, length, dtype=np.float32)
    values = np.copysign(np.expm1(np.abs(reach) * np.log1p(np.float32(scale.range[1]))), reach)
    row = scale.blend(np.full((1, length, 1), MIDDLE_GREY, np.float32), values[None])
    return np.rint(np.repeat(row, thick, axis=0)).astype(np.uint8)


def _fitting(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """Return a text in letters of the font (ASCII), cut where it would be wider than `width` pixels."""
    plain = "".join(letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))
    plain = "".join(letter if letter.isascii() and letter.isprintable() else "?" for letter in plain)
    if font.getlength(plain) <= width:
        return plain
    while plain and font.getlength(plain + "...") > width:
        plain = plain[:-1]
    return plain + "..."
