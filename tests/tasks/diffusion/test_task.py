"""Options of a diffusion run that do not go together are refused before any image is read."""

from __future__ import annotations

from typing import Any

import pytest

from fitcli.errors import FitError
from fitcli.tasks.registry import find_task, train_settings


def check(**options: Any) -> None:
    find_task("diffusion").check(train_settings("diffusion", preset="debug", **options))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"enlarge_noise": 0.2}, "--enlarge-noise is for --enlarge; give both, or leave it out"),
        ({"enlarge": 4, "size": 66}, "--enlarge 4: does not divide --size 66 pixels; give a factor that does"),
        ({"enlarge": 3}, "--enlarge 3: does not divide the side of a group, 32 pixels; give a factor that does"),
        ({"enlarge": 3, "size": 96}, "--enlarge 3: does not divide the side of a group, 32 pixels"),
        ({"enlarge": 1}, "--enlarge must be at least 2 and at most 16, not 1"),
        ({"enlarge": 2, "enlarge_noise": 1.5}, "enlarge-noise"),
    ],
    ids=str,
)
def test_how_a_run_enlarges_is_checked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(FitError) as caught:
        check(**options)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("options", [{}, {"enlarge": 2}, {"enlarge": 4, "size": 64, "enlarge_noise": 0.2}], ids=str)
def test_what_goes_together_is_accepted(options: dict[str, Any]) -> None:
    check(**options)
