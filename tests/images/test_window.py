"""Windows: integer properties that hold for every size."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fitcli.images.window import Window

windows = st.builds(Window, st.integers(-30, 30), st.integers(-30, 30), st.integers(0, 30), st.integers(0, 30))


def pixels(window: Window) -> set[tuple[int, int]]:
    return {(y, x) for y in range(window.top, window.bottom) for x in range(window.left, window.right)}


@given(windows, windows)
def test_intersection_is_what_both_cover(a: Window, b: Window) -> None:
    assert pixels(a.intersection(b)) == pixels(a) & pixels(b)
    assert a.intersection(b).area == len(pixels(a) & pixels(b))


@given(windows, st.integers(1, 8), st.integers(1, 8))
def test_chunks_are_those_with_a_pixel_of_the_window(window: Window, height: int, width: int) -> None:
    expected = {(y // height, x // width) for y, x in pixels(window)}
    assert sorted(expected) == window.chunks(height, width)


def test_a_negative_window_is_refused() -> None:
    with pytest.raises(ValueError, match="-1 x 3"):
        Window(0, 0, -1, 3)


@given(windows, st.integers(1, 30), st.integers(1, 30))
def test_clipping_keeps_the_pixels_of_the_image(window: Window, height: int, width: int) -> None:
    assert pixels(window.clip(height, width)) == {
        (y, x) for y, x in pixels(window) if 0 <= y < height and 0 <= x < width
    }


@given(windows, st.integers(-9, 9), st.integers(-9, 9))
def test_shifting_moves_every_pixel(window: Window, rows: int, columns: int) -> None:
    assert pixels(window.shift(rows, columns)) == {(y + rows, x + columns) for y, x in pixels(window)}


@given(windows)
def test_slices_cut_the_window_out_of_an_array(window: Window) -> None:
    inside = window.clip(30, 30)
    mask = np.zeros((30, 30), bool)
    mask[inside.slices()] = True
    assert {(int(y), int(x)) for y, x in np.argwhere(mask)} == pixels(inside)
