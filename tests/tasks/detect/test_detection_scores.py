"""Scores over images: through rows of numbers, by class and by size, and FROC."""

from __future__ import annotations

import numpy as np
import pytest
from support.detect_models import checkpoint, found_of, objects_of, random_boxes

from fitcli.tasks.detect.detection_scores import (
    FROC_RATES,
    ImageMatches,
    by_octave,
    counts_at,
    froc,
    point_radius,
    pooled,
    summary,
)
from fitcli.tasks.detect.matching import match_boxes


def image(seed: int = 0) -> ImageMatches:
    rng = np.random.default_rng(seed)
    boxes = random_boxes(rng, 20, 80)
    found = np.concatenate([boxes[:12] + 0.3, random_boxes(rng, 5, 80)])
    return ImageMatches(
        match_boxes(found_of(found, rng.random(17), rng.integers(0, 2, 17)), objects_of(boxes, rng.integers(0, 2, 20)))
    )


def test_matches_come_back_from_rows() -> None:
    for each in (image(), ImageMatches(match_boxes(found_of([], []), objects_of([])))):
        again = ImageMatches.of_row(each.as_row())
        for mine, theirs in zip(again.matches, each.matches, strict=True):
            assert np.array_equal(mine, theirs)
            assert mine.dtype == theirs.dtype


def test_counts_at_a_threshold() -> None:
    found = found_of([(0, 0, 5, 5), (20, 20, 25, 25), (40, 40, 45, 45)], [0.9, 0.6, 0.2], [0, 1, 0])
    matches = match_boxes(found, objects_of([(0, 0, 5, 5), (40, 40, 45, 45), (60, 60, 65, 65)], [0, 0, 1]))
    total = counts_at(matches, 0.5)
    assert total == (3, 2, 1)
    assert total.scores() == {
        "true": 3, "found": 2, "precision": 0.5, "recall": pytest.approx(1 / 3), "f1": pytest.approx(0.4),
        "count_error": -1,
    }  # fmt: skip
    assert counts_at(matches, 0.1, 0) == (2, 2, 2)
    assert counts_at(matches, 0.95).scores()["precision"] is None


def test_octaves_of_sides() -> None:
    found = found_of([(0, 0, 5, 5), (20, 20, 40, 40)], [0.9, 0.8])
    rows = by_octave(match_boxes(found, objects_of([(0, 0, 5, 5), (60, 60, 69, 69)])), 0.5)
    assert [(row["from"], row["to"], row["true"], row["found"]) for row in rows] == [
        (4, 8, 1, 1),
        (8, 16, 1, 0),
        (16, 32, 0, 1),
    ]
    assert rows[0]["recall"] == 1


def test_froc() -> None:
    """Of 4 images: after 1 false object half of the objects, after 5 all."""
    found = found_of([(0, 0, 5, 5), *[(100, 100, 109, 109)] * 5, (20, 20, 25, 25)], np.linspace(0.9, 0.3, 7))
    matches = match_boxes(found, objects_of([(0, 0, 5, 5), (20, 20, 25, 25)]))
    curve = froc(matches, 4)
    assert curve["0.25"] == 0.5
    assert curve["2"] == 1
    assert curve["mean"] == pytest.approx(np.mean([curve[f"{rate:g}"] for rate in FROC_RATES]))
    assert froc(match_boxes(found_of([], []), objects_of([])), 1)["8"] == 0


def test_the_summary_names_classes() -> None:
    document = summary([image(0), image(1)], ("a", "b", "none"), 0.4)
    assert document["per_class"]["none"]["ap50"] is None
    assert document["ap50"] >= document["ap75"]
    assert document["true"] == 40
    assert sum(own["found"] for own in document["per_class"].values()) == document["found"]
    assert document["mean_absolute_count_error"] >= 0
    assert len(pooled([image(0), image(1)]).scores) == 34


def test_points_have_one_precision_and_a_radius() -> None:
    config = checkpoint(points=True).config
    own = ImageMatches.of(found_of([(5, 5, 5, 5)], [0.9]), objects_of([(7, 5, 7, 5)]), config)
    document = summary([own], ("iron", "wood"), 0.4)
    assert document["ap"] == pytest.approx(1)
    assert "ap50" not in document
    assert point_radius(config) == 6
