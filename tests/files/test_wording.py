"""Numbers of things in words."""

from __future__ import annotations

import pytest

from fitcli.files.wording import counted


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ((0, "image"), "0 images"),
        ((1, "image"), "1 image"),
        ((1200, "pixel"), "1,200 pixels"),
        ((1, "class", "classes"), "1 class"),
        ((2, "class", "classes"), "2 classes"),
        ((1, "polygon without a class", "polygons without a class"), "1 polygon without a class"),
    ],
)
def test_one_and_several(words: tuple[int, str], text: str) -> None:
    assert counted(*words) == text
