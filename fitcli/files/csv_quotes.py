"""Finds quotes in CSV text that are opened by mistake, so that the lines after them would be part of a cell."""

from __future__ import annotations

import csv
import io

STRAY_QUOTE = "a quote is opened, and lines that look like rows follow before it is closed; close it, or remove it"
"""What is wrong with a line that `stray_quote` finds, and what to do."""


def stray_quote(text: str, delimiter: str) -> int | None:
    """Return the number of the first line, from 1, of a record that holds others by mistake; None if there is none.

    A record of several lines is one by mistake if its last quote is not closed, or if a line within it has as many
    delimiters as the first line of the text, as another record would.

    Args:
        text: All text of the file.
        delimiter: Separator of the cells.
    """
    if '"' not in text:
        return None
    lines = list(io.StringIO(text, newline=""))
    usual, start = lines[0].count(delimiter), 0
    reader = csv.reader(lines, delimiter=delimiter)
    try:
        for _ in reader:
            record = lines[start : reader.line_num]
            is_open = len(record) > 1 and "".join(record).count('"') % 2
            if is_open or any(0 < usual == line.count(delimiter) for line in record[1:-1]):
                return start + 1
            start = reader.line_num
    except csv.Error:
        return start + 1
    return None
