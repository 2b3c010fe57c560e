"""Texts of options of `fit generate` become values, or are refused with a form that is right."""

from __future__ import annotations

import pytest

from fitcli.images.window import Window
from fitcli.tasks.diffusion.generate_options import GuidedTimes, parse_times, parse_window


def test_texts_become_values() -> None:
    assert parse_times("0.2,0.8") == GuidedTimes(0.2, 0.8)
    assert parse_times("0, 1") == GuidedTimes(0, 1)
    assert parse_window("0, 512,256,128") == Window(0, 512, 256, 128)


@pytest.mark.parametrize("text", ["", "0.5", "0.2,0.5,0.8", "a,b", "0.8,0.2", "-0.1,0.5", "0.5,1.1", "nan,1", "0,inf"])
def test_no_times_of_guidance(text: str) -> None:
    with pytest.raises(ValueError, match=r"no interval; give FIRST,LAST|must be 0 <= first <= last <= 1"):
        parse_times(text)


@pytest.mark.parametrize("text", ["", "1,2,3", "1,2,3,0", "1,2,0,3", "-1,2,3,4", "1,2,3,4,5", "1.5,2,3,4"])
def test_no_window(text: str) -> None:
    with pytest.raises(ValueError, match="is no window; give TOP,LEFT,HEIGHT,WIDTH"):
        parse_window(text)
