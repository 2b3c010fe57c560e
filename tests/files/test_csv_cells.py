"""No cell is a formula for a spreadsheet, numbers stay, and what is read is what was written."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fitcli.files.csv_cells import original_text, safe_cell
from fitcli.files.publish import publish_csv

FORMULAS = [
    "=1+1",
    "=HYPERLINK(...).png",
    "+a",
    "-a",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    "'=1",
    "-",
    "-1-1",
    "+1a",
    "--1",
]
PLAIN = ["", "a", "a=1", "a-b", "'", "'a", " =1", "-0.5", "+5", "-1e-07", "-.5", "12", "1=1", "http://a?b=c"]


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_gets_an_apostrophe(text: str) -> None:
    assert safe_cell(text) == f"'{text}"
    assert original_text(safe_cell(text)) == text


@pytest.mark.parametrize("text", PLAIN)
def test_everything_else_stays(text: str) -> None:
    assert safe_cell(text) == original_text(safe_cell(text)) == text


@pytest.mark.parametrize(("value", "text"), [(-0.5, "-0.5"), (3, "3"), (Path("=a"), "'=a")])
def test_values_that_are_no_text(value: object, text: str) -> None:
    assert safe_cell(value) == text


@given(st.text(alphabet="'=+-@\t\r\n01e.a;,\""))
def test_what_is_read_is_what_was_written(text: str) -> None:
    cell = safe_cell(text)
    assert original_text(cell) == text
    assert not cell or cell[0] not in "=+-@\t\r\n" or float(cell) == float(text)


def test_every_cell_of_a_file(tmp_path: Path) -> None:
    with publish_csv(tmp_path / "a.csv") as table:
        table.write_rows([["path", "=class"], ["+a.png", -0.25]])
    with (tmp_path / "a.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [["path", "'=class"], ["'+a.png", "-0.25"]]
