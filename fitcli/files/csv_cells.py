"""Makes the cells of a CSV file safe for spreadsheets, which take a text such as `=HYPERLINK(...)` for a formula.

A text that begins with = + - @, a tab or a line break gets an apostrophe before it, as OWASP advises ("CSV Injection").
Numbers stay as they are. A text that begins with apostrophes before such a character gets one more, so that what is
read is what was written.
"""

from __future__ import annotations

import re

FORMULA = re.compile(r"'*[=+\-@\t\r\n]")
"""Beginning of a text that is written with an apostrophe."""

WRITTEN = re.compile(r"'+[=+\-@\t\r\n]")
"""Beginning of a text that was written with an apostrophe."""

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
"""A number, which a spreadsheet shows as it is."""


def safe_cell(value: object) -> str:
    """Return the text of a cell that a spreadsheet shows and does not compute."""
    text = str(value)
    return f"'{text}" if FORMULA.match(text) and NUMBER.fullmatch(text) is None else text


def original_text(cell: str) -> str:
    """Return the text that `safe_cell` made a cell of."""
    return cell[1:] if WRITTEN.match(cell) else cell
