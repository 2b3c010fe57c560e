"""How much of a planted place lies in one group."""

from __future__ import annotations

import pytest

from benchmarks.learning.planted_places import Place
from benchmarks.learning.planted_shifts import by_share, largest_share


@pytest.mark.parametrize(
    ("y", "x", "shift", "share"),
    [
        (128, 128, (0, 0), 1.0), (256, 128, (0, 0), 0.5), (256, 256, (0, 0), 0.25), (256, 256, (128, 128), 1.0),
        (256, 128, (0, 128), 0.25), (40, 300, (0, 0), 1.0),
    ],
)  # fmt: skip
def test_the_largest_share(y: float, x: float, shift: tuple[int, int], share: float) -> None:
    # The points on the border itself belong to one side.
    assert largest_share(Place(y, x, 40), shift, 256) == pytest.approx(share, abs=0.02)


def test_the_table() -> None:
    answers = [{"share": 0.5, "right": False}, {"share": 0.5, "right": True}, {"share": 1.0, "right": True}]
    assert [(row["answers"], row["right"]) for row in by_share(answers)] == [(2, 1), (0, 0), (0, 0), (1, 1)]
