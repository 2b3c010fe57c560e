"""Suppression, against the loop that compares all with all; and its time."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from support.detect_models import overlap, random_boxes

from fitcli.tasks.detect import suppression
from fitcli.tasks.detect.suppression import suppress


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
def test_time_is_bounded(kind: str) -> None:
    """A hundred thousand take a second; all with all would be ten thousand million comparisons."""
    rng, count = np.random.default_rng(0), 50_000
    boxes = {
        "spread": random_boxes(rng, count, 9000),
        "all at one place": random_boxes(rng, 1, 1) + rng.uniform(0, 0.1, (count, 4)),
        "of every shape": random_boxes(rng, count, 300) * np.exp(rng.uniform(0, 6, (count, 1))),
    }[kind]
    began = time.process_time()
    kept = suppress(boxes, rng.random(count).astype(np.float32), np.zeros(count, np.int32), 0.6)
    assert time.process_time() - began < 8
    assert len(kept) > 0
