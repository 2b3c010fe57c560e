"""Targets: kinds, classes, columns of CSV files, and where the logits of each lie."""

from __future__ import annotations

import pytest

from fitcli.runs.targets import Target, parts, result_columns, slices

GRADE = Target("grade", "single-label", ("high", "low"))
FINDINGS = Target("findings", "multi-label", ("mitosis", "necrosis", "none"))


def test_columns_of_a_csv_file() -> None:
    assert (GRADE.column, FINDINGS.column) == ("label:grade", "labels:findings")
    assert Target("age", "value", (), outputs=1).column == "value:age"
    assert (GRADE.is_single, FINDINGS.is_single) == (True, False)
    assert result_columns(["path"], [GRADE, FINDINGS], plain=False) == [
        "path", "grade:high", "grade:low", "findings:mitosis", "findings:necrosis", "findings:none",
    ]  # fmt: skip
    assert result_columns(["path", "label"], [GRADE], plain=True) == ["path", "label", "high", "low"]
    age = Target("age", "value", (), outputs=1)
    assert result_columns(["path"], [age, GRADE], False, [["12", "24"], []]) == ["path", "age:12", "age:24"]


NAMES = ("Label", "PATH ", "label", "path", "predicted", "probability:label", "probability:probability:label", "x")


@pytest.mark.parametrize("before", [["path", "label"], ["path", "label", "predicted"]])
def test_a_class_called_like_a_column_has_a_column_of_its_own(before: list[str]) -> None:
    columns = result_columns(before, [Target("label", "single-label", NAMES)], plain=True)
    assert len(columns) == len(before) + len(NAMES)
    assert len(set(columns)) == len(columns)
    assert not {column.strip().lower() for column in columns[len(before) :]} & set(before), "not by case alone"
    free = [name for name in NAMES if name.strip().lower() not in before]
    assert [column for column in columns if column in free] == free, "other classes keep their names"


@pytest.mark.parametrize(
    "targets",
    [
        [Target("predicted", "single-label", ("grade", "b")), Target("grade", "single-label", ("a", "b"))],
        [Target("label", "single-label", ("grade", "b")), Target("grade", "single-label", ("a", "b"))],
        [Target("labels", "multi-label", ("label", "labels")), Target("label", "single-label", ("label", "labels"))],
        [Target("a", "single-label", ("b:c", "x")), Target("a:b", "multi-label", ("c", "x"))],
        [Target("path", "single-label", ("path", "label:path")), Target("probability", "multi-label", ("path",))],
    ],
)
def test_targets_called_like_columns(targets: list[Target]) -> None:
    before = ["path", *(name for target in targets for name in (target.column, f"predicted:{target.name}"))]
    columns = result_columns(before, targets, plain=False)
    assert len(set(columns)) == len(columns) == len(before) + sum(len(target.classes) for target in targets)


def test_class_numbers_are_sorted_and_unknown_names_are_left_out() -> None:
    assert FINDINGS.numbers(["none", "mitosis", "elsewhere", "none"]) == (0, 2)
    assert GRADE.numbers([]) == ()


def test_slices_divide_the_logits() -> None:
    logits = list(range(7))
    own = [logits[part] for part in slices([GRADE, FINDINGS, GRADE])]
    assert own == [[0, 1], [2, 3, 4], [5, 6]]
    assert slices([]) == []
    assert slices([Target("age", "value", (), outputs=3), GRADE]) == [slice(0, 3), slice(3, 5)]
    assert parts([2, 0, 1]) == [slice(0, 2), slice(2, 2), slice(2, 3)]


def test_a_target_has_an_output_per_class_unless_it_says_otherwise() -> None:
    assert (GRADE.outputs, GRADE.scale) == (2, ())
    assert Target("grade", "single-label", ("high", "low"), outputs=2) == GRADE
    assert Target("grade", "order", ("low", "high"), outputs=1).outputs == 1


@pytest.mark.parametrize(
    ("kind", "classes", "message"),
    [
        ("single-label", (), r"^target 'grade' needs different classes, not \[\]$"),
        ("multi-label", ("a", "b", "a"), r"^target 'grade' needs different classes, not \['a', 'b', 'a'\]$"),
    ],
)
def test_impossible_targets_are_refused(kind: str, classes: tuple[str, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Target("grade", kind, classes)
