"""The survey of objects: classes, kinds, sizes, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.pictures import save

from fitcli.annotations.objects.object_set import ObjectSource
from fitcli.annotations.objects.object_survey import draw_object_positions, survey_objects
from fitcli.errors import DataError
from fitcli.images.read_as import ReadAs

Pairs = list[tuple[Path, ObjectSource | None]]


def pairs(folder: Path, *files: str) -> Pairs:
    """Images of 60 x 40 pixels, each with a CSV file of these lines; "" for an image without a file."""
    found: Pairs = []
    for number, text in enumerate(files):
        image = save(folder / f"{number}.png", np.zeros((40, 60, 3), np.uint8))
        path = folder / f"{number}.csv"
        path.write_text(text)
        found.append((image, ObjectSource(path) if text else None))
    return found


BOXES = "xmin,ymin,xmax,ymax,label\n"
POINTS = "x,y,label\n"


def test_counts_and_sizes(tmp_path: Path) -> None:
    samples = pairs(tmp_path, BOXES + "1,2,5,6,b\n1,1,9,17,a\n", BOXES + "4,4,8,8,b\n", BOXES, "")
    found = survey_objects(samples, positions=True, held_out={samples[1][0]})
    assert (found.names, found.counts) == (("a", "b"), (1, 2))
    assert not found.are_points
    assert found.side == 4
    assert found.empty == 1
    assert found.notes == ("1 of 3 images without an object",)
    assert found.warnings == ()
    assert [each.tolist() for each in found.positions[samples[0][0]]] == [[[9, 5]], [[4, 3]]]
    drawn = draw_object_positions(samples, found.names, ReadAs(), 0)
    assert [each.tolist() for each in drawn[samples[0][0]]] == [[[9, 5]], [[4, 3]]]


def test_points(tmp_path: Path) -> None:
    found = survey_objects(pairs(tmp_path, POINTS + "1,2,a\n", POINTS + "3,4,a\n"))
    assert found.are_points
    assert found.side == 0


@pytest.mark.parametrize(("cell", "sharing"), [(1, 0), (4, 1)])
def test_points_of_two_classes_share_a_place(tmp_path: Path, cell: int, sharing: int) -> None:
    samples = pairs(tmp_path, POINTS + "1,2,a\n4,2,b\n30,2,b\n31,2,b\n")
    assert survey_objects(samples, cell=cell).sharing == sharing


def test_boxes_of_two_classes_share_a_place(tmp_path: Path) -> None:
    samples = pairs(tmp_path, BOXES + "1,2,9,9,a\n1,2,9,9,b\n20,2,29,9,a\n", BOXES + "1,2,9,9,b\n1,2,9,9,b\n")
    assert survey_objects(samples).sharing == 1


def test_a_class_that_is_not_trained_on(tmp_path: Path) -> None:
    samples = pairs(tmp_path, BOXES + "1,2,5,6,a\n", BOXES + "1,2,5,6,b\n")
    (warning,) = survey_objects(samples, held_out={samples[1][0]}).warnings
    assert warning.startswith("no training image shows 'b'")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (("",), "no image has a file of objects"),
        ((BOXES, BOXES), "has an object; annotate some"),
        ((BOXES + "1,2,5,6,a\n", POINTS + "1,2,a\n"), "has points, but .*0.csv has boxes"),
        ((BOXES + "1,2,1.5,2.5,a\n",), "smaller than 1 pixel"),
        ((BOXES + "100,200,150,250,a\n",), "has no object on"),
        ((BOXES + "9,2,1,6,a\n",), "sides exchanged"),
    ],
)
def test_what_cannot_be_learned(tmp_path: Path, files: tuple[str, ...], message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        survey_objects(pairs(tmp_path, *files))
    assert "\n" not in str(caught.value)


def test_bad_files_are_passed_over_if_allowed(tmp_path: Path) -> None:
    samples = pairs(tmp_path, BOXES + "1,2,5,6,a\n", BOXES + "9,2,1,6,a\n", BOXES + "100,2,110,6,a\n")
    assert survey_objects(samples, most_bad=2).counts == (1,)
    with pytest.raises(DataError):
        survey_objects(samples, most_bad=1)


def test_many_objects_of_a_class_give_few_positions(tmp_path: Path) -> None:
    rows = "".join(f"{n % 50},{n % 30},{n % 50 + 3},{n % 30 + 3},a\n" for n in range(500))
    samples = pairs(tmp_path, BOXES + rows)
    (positions,) = survey_objects(samples, positions=True).positions[samples[0][0]]
    assert len(positions) == 32
