"""Suppression, against the loop that compares all with all; and its time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support.detect_models import overlap, random_boxes

from fitcli.annotations.objects import box_pairs, suppression
from fitcli.annotations.objects.box_pairs import overlaps_of
from fitcli.annotations.objects.suppression import Places, suppress


def slow(boxes: Any, scores: Any, numbers: Any, share: float) -> list[int]:
    kept: list[int] = []
    for one in np.argsort(-scores, kind="stable").tolist():
        if all(numbers[one] != numbers[other] or overlap(boxes[one], boxes[other]) <= share for other in kept):
            kept.append(one)
    return sorted(kept)


@pytest.mark.parametrize("most", [1 << 22, 150])
@pytest.mark.parametrize("seed", range(15))
def test_equal_to_all_with_all(seed: int, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suppression, "MOST_PAIRS", most)
    rng = np.random.default_rng(seed)
    count = int(rng.integers(0, 90))
    boxes = random_boxes(rng, count, float(rng.choice([5, 40])))
    scores = (rng.integers(0, 20, count) / 20).astype(np.float32)
    numbers = rng.integers(0, 2, count).astype(np.int32)
    assert suppress(boxes, scores, numbers, 0.6).tolist() == slow(boxes, scores, numbers, 0.6)


@pytest.mark.parametrize("kind", ["spread", "all at one place", "of every shape"])
def test_few_pairs_are_compared(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All with all would be two hundred million comparisons."""
    compared = 0

    def counting(boxes: Any, others: Any) -> Any:
        nonlocal compared
        compared += len(boxes)
        return overlaps_of(boxes, others)

    monkeypatch.setattr(box_pairs, "overlaps_of", counting)
    monkeypatch.setattr(suppression, "MOST_PAIRS", 1 << 18)
    rng, count = np.random.default_rng(0), 20_000
    boxes = {
        "spread": random_boxes(rng, count, 6000),
        "all at one place": random_boxes(rng, 1, 1) + rng.uniform(0, 0.1, (count, 4)),
        "of every shape": random_boxes(rng, count, 300) * np.exp(rng.uniform(0, 6, (count, 1))),
    }[kind]
    kept = suppress(boxes, rng.random(count).astype(np.float32), np.zeros(count, np.int32), 0.6)
    assert len(kept) > 0
    assert compared <= 200 * count


@pytest.mark.parametrize("seed", range(5))
def test_points_share_a_place_if_their_cells_touch(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cells = rng.integers(0, 12, (30, 2))
    scores = rng.random(30).astype(np.float32)
    kept: list[int] = []
    for one in np.argsort(-scores).tolist():
        if all(np.abs(cells[one] - cells[other]).max() > 1 for other in kept):
            kept.append(one)
    places = Places.of_points(cells)
    assert suppress(places.boxes, scores, np.zeros(30, np.int32), places.share).tolist() == sorted(kept)


def test_places_that_classes_share_are_counted() -> None:
    boxes = np.array([(0, 0, 10, 10), (1, 0, 11, 10), (1, 0, 11, 10), (5, 0, 15, 10), (40, 0, 50, 10)], float)
    places = Places.of_boxes(boxes)
    assert places.shared(np.array([0, 1, 1, 0, 1])) == 1
    assert places.shared(np.array([0, 0, 0, 0, 0])) == 0
    assert Places.of_boxes(np.empty((0, 4))).shared(np.empty(0, np.int64)) == 0
