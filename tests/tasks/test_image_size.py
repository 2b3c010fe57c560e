"""The size of a generated image follows from the options, which must not contradict each other."""

from __future__ import annotations

from typing import Any

import pytest

from fitcli.errors import FitError
from fitcli.tasks.image_size import choose_sides, choose_size

TRAINED = (32, 48)


def size(
    res: int | None = None, height: int | None = None, width: int | None = None, enlarging: bool = False,
    repainting: bool = False,
) -> tuple[int, int]:  # fmt: skip
    return choose_size(res, height, width, TRAINED, enlarging, repainting)


def test_sides_come_from_either_option() -> None:
    assert choose_sides(64, None, None) == (64, 64)
    assert choose_sides(None, 10, None) == (10, None)
    with pytest.raises(FitError, match="give either --res"):
        choose_sides(64, None, 10)


def test_the_default_is_the_trained_size() -> None:
    assert size() == size(enlarging=True, repainting=True) == TRAINED
    assert size(64) == size(64, enlarging=True) == (64, 64)
    assert size(height=10, width=20) == (10, 20)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"repainting": True}, "give --image FILE too"),
        ({"repainting": True, "enlarging": True, "res": 64}, "leave out --res"),
        ({"height": 10}, "belong together"),
        ({"enlarging": True}, "give --res to enlarge it, or --window"),
    ],
)
def test_contradictions_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(FitError, match=message):
        size(**options)
