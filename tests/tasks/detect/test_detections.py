"""Objects of an image from the candidates of its groups."""

from __future__ import annotations

import numpy as np
import pytest
from support.detect_models import LAYOUT

from fitcli.tasks.detect.detections import CandidateCollector


def table(*rows: tuple[float, ...]) -> np.ndarray:
    """A group's candidates: score, class, row, column, is peak, and sides in cells."""
    filled = np.zeros((1, 8, 9), np.float32)
    for number, row in enumerate(rows):
        filled[0, number, : len(row)] = row
    return filled


def test_boxes_in_pixels_clipped_and_in_order() -> None:
    collector = CandidateCollector(LAYOUT)
    collector.put([(1, 0)], table((0.5, 1, 0, 2, 1, 1, 1, 1, 2)))
    collector.put([(0, 0)], table((0.9, 0, 5, 5, 1, 50, 1, 1, 1), (0.4, 0, 3, 1, 0, 1, 1, 1, 1)))
    found = collector.detections((30, 20))
    assert found.scores.tolist() == pytest.approx([0.9, 0.5])
    assert found.numbers.tolist() == [0, 1]
    assert found.boxes.tolist() == [[9, 0, 13, 13], [3, 11, 9, 15]]


def test_an_object_on_a_border_is_found_once() -> None:
    """Both groups have a peak at the border, side by side: the better one stays."""
    collector = CandidateCollector(LAYOUT)
    collector.put([(0, 0)], table((0.6, 0, 2, 5, 1, 1, 1, 1, 1)))
    collector.put([(0, 1)], table((0.7, 0, 3, 0, 1, 1, 1, 1, 1)))
    found = collector.detections((12, 24))
    assert found.scores.tolist() == pytest.approx([0.7])
    assert collector.full == 0


def test_overlapping_objects_of_a_class_are_one() -> None:
    collector = CandidateCollector(LAYOUT)
    sides = (3, 3, 3, 3)
    collector.put([(0, 0)], table((0.6, 0, 2, 2, 1, *sides), (0.7, 0, 2, 4, 1, 3, 5, 3, 1), (0.3, 1, 2, 2, 1, *sides)))
    found = collector.detections((40, 40))
    assert sorted(found.scores.round(1).tolist()) == pytest.approx([0.3, 0.7])


def test_points_are_middles_of_cells() -> None:
    collector = CandidateCollector(LAYOUT)
    collector.put([(0, 0)], table((0.6, 0, 2, 5, 1))[..., :5])
    found = collector.detections((5, 40))
    assert found.boxes.tolist() == [[11, 4.5, 11, 4.5]]
    assert len(CandidateCollector(LAYOUT).detections((5, 5))) == 0


def test_full_groups_are_counted() -> None:
    collector = CandidateCollector(LAYOUT)
    collector.put([(0, 0)], np.ones((1, 3, 9), np.float32))
    assert collector.full == 1


@pytest.mark.parametrize(("one_per_place", "scores"), [(False, [0.3, 0.7]), (True, [0.7])])
def test_a_place_may_have_one_object_of_all_classes(one_per_place: bool, scores: list[float]) -> None:
    sides = (3, 3, 3, 3)
    boxes, points = (CandidateCollector(LAYOUT, one_per_place) for _ in range(2))
    boxes.put([(0, 0)], table((0.7, 0, 2, 2, 1, *sides), (0.3, 1, 2, 3, 1, 3, 4, 3, 2)))
    points.put([(0, 0)], table((0.7, 0, 2, 2, 1), (0.3, 1, 3, 3, 1))[..., :5])
    for collector in (boxes, points):
        assert sorted(collector.detections((40, 40)).scores.round(1).tolist()) == pytest.approx(scores)


def test_points_of_other_classes_two_cells_away_stay() -> None:
    collector = CandidateCollector(LAYOUT, one_per_place=True)
    # The third lies in another group, one cell from the first.
    collector.put([(0, 0)], table((0.7, 0, 2, 5, 1), (0.6, 1, 2, 3, 1))[..., :5])
    collector.put([(0, 1)], table((0.5, 1, 3, 0, 1))[..., :5])
    assert sorted(collector.detections((40, 40)).scores.round(1).tolist()) == pytest.approx([0.6, 0.7])
