"""The first lines of a training about its data set."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.data_sets import table, touch

from fitcli.data.dataset import load_dataset
from fitcli.data.description import describe_dataset, warn_of_names


def test_classes_and_what_is_passed_over(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{label}/{number}.png" for label in ("cat", "dog") for number in range(10)), "dog/a.czi")
    assert describe_dataset(load_dataset(tmp_path)) == (
        "classes (training + validation images): cat (8 + 2), dog (8 + 2)",
        "1 file passed over: dog/a.czi; it is a Zeiss CZI image, which fit does not read; convert it with "
        "`bioformats2raw a.czi a.zarr`, or `bfconvert a.czi a.ome.tif`",
        "4 validation images choose the weights to keep; with fewer than 50, their scores depend on chance",
    )


def test_many_classes_and_long_names(tmp_path: Path) -> None:
    names = [f"{number:02}" for number in range(49)] + ["0" * 90]
    touch(tmp_path, *(f"{name}/{number}.png" for name in names for number in range(2)))
    (line,) = describe_dataset(load_dataset(tmp_path))
    assert line.startswith("classes (training + validation images): 00 (1 + 1), " + "0" * 40 + " (1 + 1), 01 (1 + 1), ")
    assert line.endswith("08 (1 + 1), and 40 more")


def test_a_line_per_target(tmp_path: Path) -> None:
    touch(tmp_path, *"abcd")
    lines = ["path,label:kind,labels:marks,split", "a,cat,x|y,train", "b,dog,,train", "c,dog,y,train", "d,cat,y,val"]
    assert describe_dataset(load_dataset(table(tmp_path, *lines))) == (
        "label:kind (training + validation images): cat (1 + 1), dog (2 + 0)",
        "labels:marks (training + validation images): x (1 + 0), y (2 + 1)",
        "1 validation image chooses the weights to keep; with fewer than 50, their scores depend on chance",
    )


@pytest.mark.parametrize(("validation", "hints"), [(0, 0), (1, 1), (49, 1), (50, 0)])
def test_a_hint_if_few_images_choose_the_weights(tmp_path: Path, validation: int, hints: int) -> None:
    names = [f"{number}.png" for number in range(validation + 2)]
    touch(tmp_path, *names)
    rows = [f"{name},{number % 2},{'train' if number < 2 else 'val'}" for number, name in enumerate(names)]
    lines = describe_dataset(load_dataset(table(tmp_path, "path,label,split", *rows)))
    assert len([line for line in lines if "with fewer than 50" in line]) == hints


def test_no_classes(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "b.png")
    (hint,) = describe_dataset(load_dataset(tmp_path, "welcome"))
    assert hint.startswith("1 validation image chooses the weights to keep; ")


def test_names_that_are_hard_to_tell_apart(tmp_path: Path) -> None:
    labels = ["Normal", "normal", "tumor", "Ka\u0308se", "K\u00e4se"]
    touch(tmp_path, *(f"{label}/{number}.png" for label in labels for number in range(3)))
    data = load_dataset(tmp_path)
    assert data.classes == ("K\u00e4se", "Normal", "normal", "tumor"), "only the forms of one text are merged"
    assert "'Normal' and 'normal'; they stay different classes" in warn_of_names(data)
    assert "se'" not in warn_of_names(data)
    lines = ["path,label:a,labels:b", "Normal/0.png,x,N|n", "Normal/1.png,y,N", "tumor/0.png,x,n", "tumor/1.png,y,N"]
    assert "'N' and 'n'" in warn_of_names(load_dataset(table(tmp_path, *lines)))
    touch(tmp_path / "fine", *(f"{label}/{number}.png" for label in ("a", "b") for number in range(2)))
    assert warn_of_names(load_dataset(tmp_path / "fine")) == ""
