"""Targets are found by name, and the most probable classes come first."""

from __future__ import annotations

import numpy as np
import pytest

from fitcli.errors import FitError
from fitcli.runs.targets import Target
from fitcli.tasks.classify.labels import find_target, top_classes

KIND = Target("kind", "single-label", ("cat", "dog", "owl"))
MARKS = Target("marks", "multi-label", ("a", "b", "c"))


def test_a_target_is_found_by_name() -> None:
    assert [find_target((KIND, MARKS), name) for name in (None, "kind", "marks")] == [0, 0, 1]
    with pytest.raises(FitError, match="size: the run knows kind, marks; give one of these"):
        find_target((KIND, MARKS), "size")


def test_the_most_probable_classes_come_first_and_equal_ones_in_their_order() -> None:
    probabilities = np.array([0.2, 0.4, 0.4])
    assert top_classes(KIND.classes, probabilities, 2) == [("dog", 0.4), ("owl", 0.4)]
    assert len(top_classes(KIND.classes, probabilities, 9)) == 3
