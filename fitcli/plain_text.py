"""Text that does nothing to a terminal: what names of files may hold beside letters is shown as escapes."""

from __future__ import annotations

import unicodedata

CONTROL = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Unicode categories of control characters (escape sequences begin with one), surrogates, ends of lines."""

DIRECTIONS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that show what follows them in another order: a name may look as if it ended otherwise."""


def plain(text: str) -> str:
    """The text on one line, with `\\x1b`, `\\n`, `\\u202e` and so on in place of what is no letter, sign or space."""
    if text.isprintable():
        return text
    return "".join(_escaped(c) if unicodedata.category(c) in CONTROL or c in DIRECTIONS else c for c in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
