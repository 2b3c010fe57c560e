"""Units are dealt evenly, and folds that cannot be made are refused before labels are read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fitcli.data.csv_listing import ListedImage, Listing
from fitcli.data.folds import check_classes, check_dealing, check_fold_column, deal, rarest_first, to_assign, units_of
from fitcli.errors import DataError

DATA = Path("data.csv")


def image(name: str, split: str = "", patient: str = "", fold: str = "", labels: Path | None = None) -> ListedImage:
    return ListedImage(Path(f"{name}.png"), name, (), split, patient=patient, fold=fold, label_file=labels)


def listed(*rows: ListedImage, in_files: bool = False) -> Listing:
    return Listing(list(rows), (), in_files=in_files)


def test_large_patients_do_not_leave_a_fold_empty() -> None:
    rows = [image(f"{p}{n}", patient=p) for p, count in
            (("a", 50), ("b", 1), ("c", 1), ("d", 1), ("e", 1)) for n in range(count)]  # fmt: skip
    dealt = deal(units_of(rows), 5)
    assert sorted(len(units[0].images) for units in dealt) == [1, 1, 1, 1, 50]


def test_a_patient_is_one_unit_even_if_an_image_has_its_name() -> None:
    units = units_of([image("a", patient="x"), image("b", patient="x"), image("x")])
    assert [(unit.name, len(unit.images)) for unit in units] == [("x", 2), ("x", 1)]


def test_classes_are_sorted_by_the_number_of_their_units() -> None:
    rows = [image(name) for name in "abcd"]
    units = units_of(rows, shown={"a": ["x"], "b": ["x", "y"], "c": ["x"], "d": ["z"]})
    assert rarest_first(units) == ["y", "z", "x"]


def test_images_without_labels_validate_nothing() -> None:
    rows = [image("a", labels=Path("a.geojson")), image("b"), image("c", split="test")]
    free, unlabelled = to_assign(listed(*rows, in_files=True))
    assert ([row.key for row in free], [row.key for row in unlabelled]) == (["a"], ["b"])
    free, unlabelled = to_assign(listed(*rows))
    assert ([row.key for row in free], unlabelled) == (["a", "b"], [])


@pytest.mark.parametrize("option", ["--folds", "--cross-validate"])
def test_errors_of_dealing_name_the_option_that_was_given(option: str) -> None:
    check_dealing(DATA, listed(image("a"), image("b"), image("c", split="test")), 2, option)
    with pytest.raises(DataError, match=f"names the split of b \\(val\\), and {option} 2 makes splits of its own"):
        check_dealing(DATA, listed(image("a"), image("b", split="val")), 2, option)
    with pytest.raises(DataError, match="has 2 patients for 3 folds; give 2 folds"):
        check_dealing(DATA, listed(*(image(f"{n}", patient=f"p{n % 2}") for n in range(4))), 3, option)
    with pytest.raises(DataError, match="has one image for 2 folds; add some"):
        check_dealing(DATA, listed(image("a", labels=DATA), image("b"), in_files=True), 2, option)


def test_every_fold_has_every_class() -> None:
    units = units_of([image(f"{n}") for n in range(6)], shown={f"{n}": ["x" if n < 2 else "y"] for n in range(6)})
    check_classes(DATA, units, 2, single=True)
    check_classes(DATA, units, 3, single=False)
    with pytest.raises(DataError, match="class 'x' has 2 images for 3 folds, so a fold has none; give 2 folds"):
        check_classes(DATA, units, 3, single=True)


def test_a_column_of_folds_for_a_cross_validation() -> None:
    rows = [image("a", fold="1"), image("b", fold="2"), image("c", split="train"), image("d", split="test", fold="1")]
    check_fold_column(DATA, rows)
    with pytest.raises(DataError, match="line 7: e has split train and fold 1, and every fold validates in its turn"):
        check_fold_column(DATA, [*rows, replace(image("e", split="train", fold="1"), line=7)])
    for split in ("", "val"):
        with pytest.raises(DataError, match="the fold of e is empty; fill it in, or give it the split train"):
            check_fold_column(DATA, [*rows, image("e", split=split)])
