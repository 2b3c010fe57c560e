"""Text in pixels: where it stands, and how wide it is."""

from __future__ import annotations

import numpy as np
import pytest

from fitcli.images.text import draw_text, fitting_text, text_width


@pytest.mark.parametrize("size", [14, 22])
def test_text_stands_where_it_should(size: int) -> None:
    pixels = np.zeros((60, 300, 3), np.uint8)
    draw_text(pixels, "Evidence", (20, 30), size, (200, 100, 0))
    rows, columns = np.nonzero(pixels[..., 0])
    assert 20 <= rows.min() <= rows.max() < 20 + 1.3 * size
    assert 30 <= columns.min() < 34
    assert columns.max() <= 30 + text_width("Evidence", size) + 1
    assert pixels.reshape(-1, 3).max(0).tolist() == [200, 100, 0]


def test_a_text_is_cut_to_fit() -> None:
    assert fitting_text("short", 14, 200) == "short"
    cut = fitting_text("long " * 1000, 14, 200)
    assert cut.startswith("long long")
    assert cut.endswith("...")
    assert 150 < text_width(cut, 14) <= 200


@pytest.mark.parametrize(("text", "drawn"), [("Tümör", "Tumor"), ("腫瘍 a", "?? a"), ("a\n\tb", "a??b")])
def test_letters_that_the_font_lacks_are_replaced(text: str, drawn: str) -> None:
    assert fitting_text(text, 14, 200) == drawn
