"""The options of `fit train --task segment`: their limits, and that other tasks do not take them."""

from __future__ import annotations

from typing import Any

import pytest

from fitcli.errors import FitError
from fitcli.tasks.registry import refuse_options, train_settings
from fitcli.tasks.segment.options import OPTIONS, SegmentOptions


def test_the_defaults_are_those_of_the_task() -> None:
    options = train_settings(task="segment").options
    assert isinstance(options, SegmentOptions)
    assert OPTIONS is SegmentOptions
    assert (options.cell, options.class_weights, options.focal, options.elsewhere) == (2, "none", 0.0, None)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"cell": 0}, "cell"),
        ({"cell": 2**13}, "cell"),
        ({"focal": -0.5}, "focal"),
        ({"focal": 11.0}, "focal"),
        ({"class_weights": "equal"}, "class-weights"),
        ({"shift_canvas": -1}, "shift-canvas"),
        ({"drop_path": 1.0}, "drop-path"),
    ],
)
def test_values_beyond_their_limits_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(FitError, match=message) as caught:
        train_settings(task="segment", **given)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["classes", "elsewhere", "cell", "class_weights", "focal"])
def test_other_tasks_refuse_them(name: str) -> None:
    with pytest.raises(FitError, match=f"--{name.replace('_', '-')} is for --task segment, not for classify"):
        refuse_options("classify", {name})
    refuse_options("segment", {name})
