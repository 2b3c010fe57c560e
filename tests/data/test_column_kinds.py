"""The kinds of label columns that every data set may have, and the checks that all kinds share."""

from __future__ import annotations

from pathlib import Path

import pytest

from fitcli.data.column_kinds import LABEL_KINDS, LabelColumn, check_trainable, class_line, empty_column
from fitcli.errors import DataError
from fitcli.runs.targets import Target

SINGLE, MULTI = LABEL_KINDS
KIND, MARKS = LabelColumn("kind", SINGLE, ("label:kind",)), LabelColumn("marks", MULTI, ("labels:marks",))
DATA = Path("data.csv")


def test_cells_become_texts_and_texts_become_answers() -> None:
    assert (SINGLE.read(KIND, ["a|b"]), MULTI.read(MARKS, ["a | b"]), MULTI.read(MARKS, [""])) == ("a|b", "a | b", "")
    with pytest.raises(ValueError, match=r"^labels:marks 'a\|\|b' has an empty label; remove the extra '\|'$"):
        MULTI.read(MARKS, ["a||b"])
    target = MULTI.target(DATA, MARKS, ["b | a", "", "c"], None)
    assert target == Target("marks", "multi-label", ("a", "b", "c"))
    assert [MULTI.answer(target, text) for text in ("c|a", "", "d")] == [(0, 2), (), ()]
    assert (KIND.labels("x|y"), MARKS.labels("x|y")) == (["x|y"], ["x", "y"])
    assert LabelColumn("a", SINGLE, ("time:a", "event:a")).heading == "time:a and event:a"


def test_only_a_training_needs_enough_to_learn_from() -> None:
    assert SINGLE.target(DATA, KIND, ["a"], None).classes == ("a",)
    with pytest.raises(DataError, match=r"data\.csv, column label:kind: a classifier needs two classes or more"):
        SINGLE.target(DATA, KIND, ["a"], ["a"])
    assert MULTI.target(DATA, MARKS, ["a"], ["a"]).classes == ("a",)
    with pytest.raises(DataError, match="column labels:marks: no training image of class 'b'; add some"):
        MULTI.target(DATA, MARKS, ["a", "b"], ["a"])
    with pytest.raises(DataError, match="the column labels:marks is empty; fill it, or leave it out"):
        MULTI.target(DATA, MARKS, ["", ""], [])
    with pytest.raises(DataError, match="only 'a'"):
        check_trainable("here", ("a",), {0})
    assert "label:kind" in str(empty_column(DATA, KIND))


def test_a_line_counts_the_images_of_each_class() -> None:
    target = Target("marks", "multi-label", ("a", "b"))
    line = "labels:marks (training + validation images): a (2 + 1), b (1 + 0)"
    assert MULTI.describe(target, [(0,), (0, 1), ()], [(0,)]) == line
    many = class_line("classes", [str(number) for number in range(12)], [0, 0], [11])
    assert many.startswith("classes (training + validation images): 0 (2 + 0), 1 (0 + 0)")
    assert many.endswith(", and 2 more")
