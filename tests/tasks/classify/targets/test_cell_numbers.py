"""Numbers in cells: what is one, what is not, and how they are written and ranked."""

from __future__ import annotations

import numpy as np
import pytest

from fitcli.tasks.classify.targets.cell_numbers import cell_number, count_known, number_text, ranks


@pytest.mark.parametrize(
    ("cell", "number"), [("3", 3), ("-0.5", -0.5), ("+2.5e3", 2500), (".5", 0.5), ("1E-3", 0.001), ("7.", 7)]
)
def test_numbers(cell: str, number: float) -> None:
    assert cell_number("value:x", cell) == number


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("3,5", r"^value:x '3,5' is no number; write 3\.5, with a point$"),
        ("nan", "is no number; correct it, or leave the cell empty if it is not known"),
        ("NA", "is no number"),
        ("inf", "is no number"),
        ("-Infinity", "is no number"),
        ("1_000", "is no number"),
        ("1,000,5", "is no number; correct it"),
        ("0x10", "is no number"),
        ("5 mm", "is no number"),
        ("1e999", "is too large; write it in a larger unit"),
    ],
)
def test_what_is_no_number(cell: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cell_number("value:x", cell)


def test_texts() -> None:
    assert [number_text(number) for number in (3.0, 12.5, 1 / 3, 1e-9)] == ["3", "12.5", "0.333333", "1e-09"]
    assert count_known([(1.0,), (2.0,)], [(3.0,)]) == "2 + 1 images"
    assert count_known([(1.0,), ()], [(3.0,)]) == "1 + 1 images, not known for 1 + 0"


def test_equal_values_share_a_rank() -> None:
    values = np.array([3.0, 1, 2, 3, 3, 1])
    slow = [1 + sum(other < value for other in values) + (sum(values == value) - 1) / 2 for value in values]
    assert ranks(values).tolist() == slow
