"""Images with files of labels: which images need them, and which kinds go together."""

from __future__ import annotations

from pathlib import Path

import pytest

from fitcli.data.csv_listing import ListedImage
from fitcli.data.label_file_checks import check_label_files
from fitcli.errors import DataError

DATA = Path("data.csv")


def row(name: str, labels: str = "", split: str = "train") -> ListedImage:
    return ListedImage(Path(name), name, (), split, Path(labels) if labels else None, labels)


def test_notes() -> None:
    rows = [row("a", "a.png"), row("b"), row("c", "c.png", "val"), row("d", split="val")]
    assert check_label_files(DATA, rows[::2], True) == ()
    assert check_label_files(DATA, rows, True) == ("2 of 4 images have no labels",)


def test_labels_of_several_images_are_named() -> None:
    rows = [row("a", "x/l.png"), row("b", "x/l.png"), row("c"), row("d"), row("e", "x/m.png"), row("f", "l.png")]
    note = "several images have the same labels: l.png (2 images)"
    assert check_label_files(DATA, rows, True) == ("2 of 6 images have no labels", note)
    assert check_label_files(DATA, [*rows[:2], *2 * rows[4:]], True) == (
        "several images have the same labels: l.png (2 images), and 2 more files",
    )


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([row("a"), row("b", split="val")], "no image has labels"),
        ([row("a", split="train"), row("b", "b.png", "val")], "no training image has labels"),
        ([row("b", "b.png", "val")], "no training image has labels"),
        ([row("a", "a.png"), row("b", split="val")], "no validation image has labels"),
        ([row("a", "a.png"), row("b", "b.geojson")], r"polygons \(b.geojson\) and others label images \(a.png\)"),
    ],
)
def test_unusable_for_training(rows: list[ListedImage], message: str) -> None:
    with pytest.raises(DataError, match=message):
        check_label_files(DATA, rows, True)


def test_evaluation_needs_one_image_with_labels() -> None:
    assert check_label_files(DATA, [row("b", "b.png", "val")], False) == ()
    with pytest.raises(DataError, match="no image has labels"):
        check_label_files(DATA, [row("b")], False)
