"""Reads and writes numbers in cells of CSV files."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from fitcli.data.column_kinds import Answer
from fitcli.files.csv_cells import NUMBER


def cell_number(heading: str, cell: str) -> float:
    """Return the number in a cell.

    Raises:
        ValueError: It is no finite number. The message names the heading and says what to do.
    """
    if NUMBER.fullmatch(cell) is None:
        point = cell.replace(",", ".")
        comma = NUMBER.fullmatch(point) is not None and "," in cell
        do = f"write {point}, with a point" if comma else "correct it, or leave the cell empty if it is not known"
        raise ValueError(f"{heading} {cell!r} is no number; {do}")
    number = float(cell)
    if not math.isfinite(number):
        raise ValueError(f"{heading} {cell!r} is too large; write it in a larger unit")
    return number


def number_text(number: float) -> str:
    """Return a number as short text, such as 12.5 or 3."""
    return f"{number:.6g}"


def count_known(train: Sequence[Answer], validation: Sequence[Answer]) -> str:
    """Return the numbers of images with a known answer, and of those without, as text."""
    known = " + ".join(str(sum(map(bool, answers))) for answers in (train, validation))
    unknown = [sum(not answer for answer in answers) for answers in (train, validation)]
    return f"{known} images" + (f", not known for {unknown[0]} + {unknown[1]}" if any(unknown) else "")


def ranks(values: np.ndarray) -> np.ndarray:
    """Return the rank of each value from 1; equal values share the mean of their ranks."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray(((ends - counts + 1 + ends) / 2)[inverse.reshape(-1)])
