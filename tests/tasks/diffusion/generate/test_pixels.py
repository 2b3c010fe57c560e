"""Pixels of a generated image lie in the range of the training images; a repainted one keeps the others."""

from __future__ import annotations

import numpy as np
import torch
from support.generators import GROUP, PATCH, photograph

from fitcli.images.window import Window
from fitcli.patches.cutting import to_patches
from fitcli.patches.grid import PatchGrid
from fitcli.patches.preprocessing import Preprocessing
from fitcli.tasks.diffusion.canvas import CanvasLayout, open_canvas
from fitcli.tasks.diffusion.generate.pixels import generated_pixels, repainted_pixels

COLORS = Preprocessing(channels=3, dtype="uint8", mean=(0.0,) * 3, std=(1.0,) * 3)


def test_data_become_pixels_of_the_whole_range() -> None:
    grid = PatchGrid((GROUP * PATCH, GROUP * PATCH), PATCH, GROUP)
    levels = np.linspace(-0.6, 0.6, grid.size[1], dtype=np.float32)
    data = np.broadcast_to(levels[None, :, None], (*grid.size, 3)).copy()
    canvas = open_canvas("host", GROUP, GROUP, PATCH**2 * 3, torch.device("cpu"))
    CanvasLayout(GROUP, GROUP, GROUP).write(canvas, slice(0, 1), to_patches(data, grid))
    pixels = generated_pixels(canvas, PATCH, 0.5, COLORS)(Window(0, 0, *grid.size))
    assert pixels.dtype == np.uint8
    assert (pixels[:, 0] == 0).all(), "data below the scale are black"
    assert (pixels[:, -1] == 255).all()
    assert (np.diff(pixels[0, :, 0].astype(int)) >= 0).all()


def test_only_the_window_is_repainted() -> None:
    image, context, window = photograph(40, 50), Window(8, 4, 20, 30), Window(10, 20, 6, 7)
    asked: list[Window] = []

    def white(part: Window) -> np.ndarray:
        asked.append(part)
        return np.full((part.height, part.width, 3), 255, np.uint8)

    read = repainted_pixels(image, COLORS, white, context, window)
    expected = image.read(Window(0, 0, 40, 50)).copy()
    expected[window.slices()] = 255
    np.testing.assert_array_equal(read(Window(0, 0, 40, 50)), expected)
    np.testing.assert_array_equal(read(Window(12, 10, 9, 15)), expected[12:21, 10:25])
    read(Window(0, 0, 5, 5))
    assert asked == [Window(2, 16, 6, 7), Window(4, 16, 4, 5)], "in pixels of the context, where they are needed"
