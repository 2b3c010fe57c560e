"""The noise of a pixel depends on the image and its place alone, and is standard normal."""

from __future__ import annotations

import numpy as np
import pytest

from fitcli.data.pixel_noise import SQUARE, pixel_noise
from fitcli.images.window import Window

WHOLE = pixel_noise(7, Window(0, 0, 300, 200), 3)


@pytest.mark.parametrize(
    "window",
    [
        Window(0, 0, 1, 1),
        Window(63, 63, 2, 2),
        Window(64, 128, 64, 64),
        Window(5, 190, 290, 10),
        Window(299, 0, 1, 200),
    ],
)
def test_windows_agree_with_the_whole(window: Window) -> None:
    rows, columns = window.slices()
    assert np.array_equal(pixel_noise(7, window, 3), WHOLE[:, rows, columns])


def test_it_is_standard_normal_and_never_repeats() -> None:
    assert WHOLE.mean() == pytest.approx(0, abs=0.01)
    assert WHOLE.std() == pytest.approx(1, abs=0.01)
    squares = [WHOLE[0, :SQUARE, :SQUARE], WHOLE[1, :SQUARE, :SQUARE], WHOLE[0, SQUARE : 2 * SQUARE, :SQUARE],
               WHOLE[0, :SQUARE, SQUARE : 2 * SQUARE], pixel_noise(8, Window(0, 0, SQUARE, SQUARE), 3)[0]]  # fmt: skip
    related = np.corrcoef([square.reshape(-1) for square in squares]) - np.eye(len(squares))
    assert np.abs(related).max() < 0.06
