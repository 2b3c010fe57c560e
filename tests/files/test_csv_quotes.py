"""Quotes that are opened by mistake are found; cells with line breaks, commas and quotes are none."""

from __future__ import annotations

import csv
import io

import pytest

from fitcli.files.csv_quotes import stray_quote

HEAD = "path,label,note\n"


@pytest.mark.parametrize(
    ("rows", "line"),
    [
        ("a,x,\nb,y,\n", None),
        ('a,x,"one, two"\nb,y,"two\nlines"\nc,x,"three\nlines, with\na comma"\n', None),
        ('a,x,"a ""quoted"" word\nand a line"\n', None),
        ('a,x,5" pipe\nb,y,\n', None),
        ('a,x,\nb,y,"note\nc,x,\nd,y,\n', 3),
        ('a,"x,\nb,y,\nc,x,\n', 2),
        ('a,x,\nb,"y,\nc,x,\nd,y",\ne,x,\n', 3),
        ('a,x,"\n', None),  # the last line ends here
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_lines_of_stray_quotes(rows: str, line: int | None, end: str, delimiter: str) -> None:
    text = (HEAD + rows).replace("\n", end).replace(",", delimiter)
    assert stray_quote(text, delimiter) == line


def test_what_a_csv_writer_writes_has_none() -> None:
    rows = [["path", "label", "note"], *([f"{n}.png", "x", 'two\nlines, "quoted"\nand, three'] for n in range(20))]
    file = io.StringIO()
    csv.writer(file).writerows(rows)
    assert stray_quote(file.getvalue(), ",") is None


def test_a_cell_that_is_too_long_for_the_module() -> None:
    text = HEAD + "a,x,\n" + 'b,y,"' + "no end " * 40_000
    assert stray_quote(text, ",") == 3
