"""Writes lines of text into pixels, in a font that comes with Pillow."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont


def text_width(text: str, size: int) -> int:
    """Return the width of a line of text in pixels.

    Args:
        text: Letters of the font, see `fitting_text`.
        size: Height of a line in pixels.
    """
    return round(_font(size).getlength(text))


def fitting_text(text: str, size: int, width: int) -> str:
    """Return a text in letters of the font, cut where it would be wider than `width` pixels.

    The font has ASCII alone: accents are left out, and other letters become question marks.
    """
    # A letter is a pixel wide at least.
    letters = unicodedata.normalize("NFKD", text[: 2 * width])
    plain = "".join(letter for letter in letters if not unicodedata.combining(letter))
    plain = "".join(letter if letter.isascii() and letter.isprintable() else "?" for letter in plain)
    if len(plain) <= width and text_width(plain, size) <= width:
        return plain
    plain = plain[:width]
    while plain and text_width(plain + "...", size) > width:
        plain = plain[:-1]
    return plain + "..."


def draw_text(
    pixels: NDArray[np.uint8], text: str, place: tuple[int, int], size: int, color: tuple[int, int, int]
) -> None:
    """Write a line of text into pixels [height width 3], in place.

    Args:
        pixels: The picture.
        text: Letters of the font, see `fitting_text`.
        place: (row, column) of the upper left corner of the line.
        size: Height of a line in pixels.
        color: Red, green and blue.
    """
    picture = Image.fromarray(pixels)
    ImageDraw.Draw(picture).text((place[1], place[0]), text, color, _font(size))
    pixels[:] = np.asarray(picture)


@lru_cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
