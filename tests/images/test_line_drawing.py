"""Lines and dots lie where they should, with smooth edges, and touch nothing else."""

from __future__ import annotations

import numpy as np

from fitcli.images.line_drawing import draw_dots, draw_line, draw_lines


def test_a_line_covers_its_pixels() -> None:
    pixels = np.full((20, 30, 3), 255, np.uint8)
    draw_line(pixels, np.array([[5.0, 10.0], [25.0, 10.0]]), (0, 0, 0), 2)
    dark = (pixels < 128).all(axis=2)
    rows, columns = np.nonzero(dark)
    assert set(rows) == {9, 10}
    assert (columns.min(), columns.max()) == (5, 24)
    assert (pixels[:8] == 255).all()


def test_lines_and_dots_take_their_colour_and_may_leave_the_picture() -> None:
    pixels = np.zeros((20, 20, 3), np.uint8)
    draw_lines(pixels, [np.array([[-50.0, 5.0], [50.0, 5.0]]), np.array([[3.0, -9.0], [3.0, 99.0]])], (9, 200, 30), 2)
    draw_dots(pixels, np.array([[15.0, 15.0], [500.0, 500.0]]), (250, 1, 2), 3)
    np.testing.assert_array_equal(pixels[5, 10], (9, 200, 30))
    np.testing.assert_array_equal(pixels[10, 3], (9, 200, 30))
    np.testing.assert_array_equal(pixels[15, 15], (250, 1, 2))
    np.testing.assert_array_equal(pixels[10, 10], (0, 0, 0))
