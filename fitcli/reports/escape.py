"""Makes any text safe to stand in HTML: names of files and classes come from other people."""

from __future__ import annotations

import html
import unicodedata

LONGEST = 400
"""Most letters of a text; the middle of a longer one is left out."""

HIDDEN = {"Cc", "Cs", "Cf", "Co", "Cn", "Zl", "Zp"}
"""Kinds of letters that are not seen, that change the direction of others, or that UTF-8 cannot write."""


def escaped(text: object, longest: int = LONGEST) -> str:
    """Return a text in which no letter has a meaning in HTML, and every letter can be seen."""
    whole = str(text)
    if len(whole) > longest:
        whole = f"{whole[: longest // 2]} ... {whole[-(longest // 2) :]}"
    return html.escape("".join(map(_visible, whole)))


def _visible(letter: str) -> str:
    if unicodedata.category(letter) not in HIDDEN:
        return letter
    return " " if letter in "\t\n\r" else f"\\u{ord(letter):04x}"
