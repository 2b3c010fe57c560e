"""Sources give the data of canvases and images, and known data replace generated data outside a window."""

from __future__ import annotations

import numpy as np
import torch
from support.generators import GROUP, PATCH, photograph
from torch import Tensor

from fitcli.images.window import Window
from fitcli.patches.cutting import to_patches
from fitcli.patches.grid import PatchGrid
from fitcli.patches.preprocessing import Preprocessing
from fitcli.patches.resampling import enlarge
from fitcli.tasks.diffusion.canvas import CanvasLayout, open_canvas
from fitcli.tasks.diffusion.generate.sources import (
    Inpainting,
    canvas_source,
    canvas_values,
    enlarge_groups,
)
from fitcli.tasks.diffusion.pixel_source import image_source

COLORS = Preprocessing(channels=3, dtype="uint8", mean=(0.0,) * 3, std=(1.0,) * 3)
SIDE = PATCH * GROUP


def test_a_canvas_gives_windows_of_its_pixels() -> None:
    grid = PatchGrid((2 * SIDE, 3 * SIDE), PATCH, GROUP)
    pixels = np.random.default_rng(0).normal(size=(*grid.size, 3)).astype(np.float32)
    layout = CanvasLayout(2 * GROUP, 3 * GROUP, GROUP)
    canvas = open_canvas("host", layout.rows, layout.columns, PATCH**2 * 3, torch.device("cpu"))
    layout.write(canvas, slice(0, layout.count), to_patches(pixels, grid))
    for window in (Window(0, 0, *grid.size), Window(3, 5, 7, 2), Window(SIDE - 1, SIDE - 1, 2, 2)):
        np.testing.assert_array_equal(canvas_values(canvas, PATCH, window), pixels[window.slices()])
    source = canvas_source(canvas, PATCH, (20, 30))
    assert source.size == (20, 30)
    np.testing.assert_array_equal(source.read(Window(1, 2, 3, 4)), pixels[1:4, 2:6])


def test_groups_of_an_enlarged_source_are_those_of_the_enlarged_image() -> None:
    size = (2 * SIDE, 3 * SIDE)
    source = image_source(photograph(15, 20), COLORS, 1.0)
    whole = enlarge(source.read, source.size, size, Window(0, 0, *size))
    layout, grid = CanvasLayout(2 * GROUP, 3 * GROUP, GROUP), PatchGrid(size, PATCH, GROUP)
    parts = [enlarge_groups(source, size, layout, PATCH, part) for part in (slice(0, 4), slice(4, 6))]
    torch.testing.assert_close(torch.cat(parts), to_patches(whole, grid), rtol=0, atol=1e-6)


def test_known_data_replace_generated_data_outside_the_window() -> None:
    size, window = (2 * SIDE, 2 * SIDE), Window(3, 5, SIDE + 2, SIDE)
    source, grid = image_source(photograph(*size), COLORS, 1.0), PatchGrid(size, PATCH, GROUP)
    layout = CanvasLayout(2 * GROUP, 2 * GROUP, GROUP)
    generated = torch.full((4, GROUP**2, PATCH**2 * 3), 7.0)

    def no_noise() -> Tensor:
        return torch.zeros_like(generated)

    inpainting = Inpainting(source, window, PATCH)
    kept = inpainting.keep(layout, slice(0, 4), generated, torch.tensor(0.25), no_noise)
    expected = source.read(Window(0, 0, *size)) * np.float32(0.5)
    expected[window.slices()] = 7
    torch.testing.assert_close(kept, to_patches(expected, grid))


def test_groups_inside_the_window_need_no_noise() -> None:
    size = (2 * SIDE, 2 * SIDE)
    inpainting = Inpainting(image_source(photograph(*size), COLORS, 1.0), Window(0, 0, SIDE, SIDE), PATCH)
    generated = torch.ones(1, GROUP**2, PATCH**2 * 3)

    def never() -> Tensor:
        raise AssertionError("noise was drawn")

    layout = CanvasLayout(2 * GROUP, 2 * GROUP, GROUP)
    assert inpainting.keep(layout, slice(0, 1), generated, torch.tensor(0.5), never) is generated
