"""Enlarging in windows equals enlarging the whole image, and equals Pillow's bicubic filter."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from fitcli.images.window import Window
from fitcli.patches.resampling import REACH, enlarge, enlarging_weights, shrink

SIZES = st.tuples(st.integers(1, 9), st.integers(1, 9))


def picture(size: tuple[int, int]) -> NDArray[np.float32]:
    return np.random.default_rng(0).random((*size, 2), dtype=np.float32)


def whole(pixels: NDArray[np.float32], target: tuple[int, int]) -> NDArray[np.float32]:
    return enlarge(lambda w: pixels[w.slices()], pixels.shape[:2], target, Window(0, 0, *target))


@given(SIZES, SIZES, st.integers(0, 8), st.integers(0, 8), SIZES)
def test_windows_fit_together(
    size: tuple[int, int], more: tuple[int, int], top: int, left: int, sides: tuple[int, int]
) -> None:
    pixels, target = picture(size), (size[0] + more[0], size[1] + more[1])
    window = Window(top, left, *sides).clip(*target)
    if window.area:
        part = enlarge(lambda w: pixels[w.slices()], size, target, window)
        assert np.array_equal(part, whole(pixels, target)[window.slices()])


@pytest.mark.parametrize("target", [(12, 16), (24, 32), (17, 23), (6, 8)])
def test_inside_it_is_the_filter_of_pillow(target: tuple[int, int]) -> None:
    pixels = picture((6, 8))
    bands = [
        np.asarray(Image.fromarray(pixels[..., i]).resize(target[::-1], Image.Resampling.BICUBIC)) for i in range(2)
    ]
    # Pillow drops what lies beyond the edge instead of repeating the outermost pixels.
    rim_rows, rim_columns = -(-target[0] * 2 // 6), -(-target[1] * 2 // 8)
    inside = (slice(rim_rows, -rim_rows), slice(rim_columns, -rim_columns))
    np.testing.assert_allclose(whole(pixels, target)[inside], np.stack(bands, -1)[inside], atol=1e-5)


def test_beyond_the_edges_the_outermost_pixels_are_repeated() -> None:
    pixels = picture((3, 4))
    padded = enlarge(lambda w: pixels[w.slices()], (3, 4), (6, 8), Window(0, 0, 8, 10))
    inside = whole(pixels, (6, 8))
    assert np.array_equal(padded, np.pad(inside, ((0, 2), (0, 2), (0, 0)), mode="edge"))


def test_shrinking_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(4, 4\)"):
        whole(picture((4, 4)), (3, 8))


@pytest.mark.parametrize(("size", "factor"), [((12, 8), 4), ((9, 7), 2), ((3, 5), 4)])
def test_shrinking_is_the_mean_of_squares(size: tuple[int, int], factor: int) -> None:
    pixels = picture(size)
    padded = np.pad(pixels, [(0, -size[0] % factor), (0, -size[1] % factor), (0, 0)], mode="edge")
    bands = [np.asarray(Image.fromarray(padded[..., band]).reduce(factor)) for band in (0, 1)]
    np.testing.assert_allclose(shrink(pixels, factor), np.stack(bands, -1), atol=1e-6)


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_the_weights_enlarge_as_windows_do(factor: int) -> None:
    pixels = picture((9, 9))
    weights = enlarging_weights(9 - 2 * REACH, factor)
    inner = slice(REACH * factor, (9 - REACH) * factor)
    expected = whole(pixels, (9 * factor, 9 * factor))[inner, inner]
    np.testing.assert_allclose(np.einsum("sk,klc,tl->stc", weights, pixels, weights), expected, atol=1e-6)
