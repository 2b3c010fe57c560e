"""Settings of a generated image that are impossible are refused."""

from __future__ import annotations

from typing import Any

import pytest

from fitcli.errors import FitError
from fitcli.tasks.diffusion.generate.settings import LONGEST_SIDE, GenerationSettings
from fitcli.tasks.diffusion.generate_options import GuidedTimes


def test_the_smallest_and_the_largest_image_are_possible() -> None:
    for size in ((1, 1), (LONGEST_SIDE, LONGEST_SIDE)):
        assert GenerationSettings(size=size).size == size


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": (0, 5)}, "0 x 5 pixels is impossible; give 1 to 1048576"),
        ({"size": (5, LONGEST_SIDE + 1)}, "impossible"),
        ({"seed": -1}, "--seed -1: must lie in 0"),
        ({"seed": 2**64}, "--seed"),
        ({"steps": 0}, "--steps"),
        ({"strength": 0.0}, "--strength"),
        ({"guidance": -1.0}, "--guidance"),
        ({"guidance_interval": GuidedTimes(0.0, 0.5)}, "--guidance-interval limits --guidance; give --guidance X too"),
    ],
)
def test_impossible_settings_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(FitError, match=message):
        GenerationSettings(**{"size": (8, 8)} | changes)
