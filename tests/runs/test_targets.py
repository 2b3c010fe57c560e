"""Targets: kinds, classes, columns of CSV files, and where the logits of each lie."""

from __future__ import annotations

import pytest

from fitcli.runs.targets import Target, TargetKind, probability_columns, slices

GRADE = Target("grade", "single-label", ("high", "low"))
FINDINGS = Target("findings", "multi-label", ("mitosis", "necrosis", "none"))


def test_columns_of_a_csv_file() -> None:
    assert (GRADE.column, FINDINGS.column) == ("label:grade", "labels:findings")
    assert (GRADE.is_single, FINDINGS.is_single) == (True, False)
    assert probability_columns([GRADE, FINDINGS]) == [
        "grade:high", "grade:low", "findings:mitosis", "findings:necrosis", "findings:none",
    ]  # fmt: skip


def test_class_numbers_are_sorted_and_unknown_names_are_left_out() -> None:
    assert FINDINGS.numbers(["none", "mitosis", "elsewhere", "none"]) == (0, 2)
    assert GRADE.numbers([]) == ()


def test_slices_divide_the_logits() -> None:
    logits = list(range(7))
    parts = [logits[part] for part in slices([GRADE, FINDINGS, GRADE])]
    assert parts == [[0, 1], [2, 3, 4], [5, 6]]
    assert slices([]) == []


@pytest.mark.parametrize(
    ("kind", "classes", "message"),
    [
        ("ordinal", ("a", "b"), r"^target 'grade': 'ordinal' is none of single-label, multi-label$"),
        ("single-label", (), r"^target 'grade' needs different classes, not \[\]$"),
        ("multi-label", ("a", "b", "a"), r"^target 'grade' needs different classes, not \['a', 'b', 'a'\]$"),
    ],
)
def test_impossible_targets_are_refused(kind: TargetKind, classes: tuple[str, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Target("grade", kind, classes)
