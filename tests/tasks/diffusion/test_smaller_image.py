"""Windows of a smaller version, enlarged group by group, are the enlarged image, as independent versions have it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from fitcli.images.window import Window
from fitcli.patches.cutting import to_patches
from fitcli.patches.grid import PatchGrid
from fitcli.patches.resampling import enlarge
from fitcli.tasks.diffusion.smaller_image import (
    enlarge_windows,
    group_windows,
    read_smaller,
    with_surroundings,
)

PATCH, GROUP = 4, 2
SIDE = PATCH * GROUP


def picture(height: int, width: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).uniform(-1, 1, (height, width, 3)).astype(np.float32)


def torch_enlarged(smaller: NDArray[np.float32], factor: int) -> NDArray[np.float64]:
    """The whole enlargement in float64 by torch, whose antialiased filter has the same kernel as Keys 1981.

    It drops what lies beyond the edges, so the outermost pixels are repeated first.
    """
    framed = np.pad(smaller, [(2, 2), (2, 2), (0, 0)], mode="edge").astype(np.float64)
    values = torch.from_numpy(framed).permute(2, 0, 1)[None]
    size = [factor * side for side in framed.shape[:2]]
    large = F.interpolate(values, size=size, mode="bicubic", antialias=True, align_corners=False)
    inner = slice(2 * factor, -2 * factor)
    return large[0].permute(1, 2, 0).numpy()[inner, inner]


@pytest.mark.parametrize("factor", [2, 4])
def test_groups_are_those_of_the_enlarged_image(factor: int) -> None:
    smaller = picture(24 // factor, 40 // factor)
    grid = PatchGrid((24, 40), PATCH, GROUP)
    side = SIDE // factor
    places = [(row * side, column * side) for row, column in grid.coordinates()]
    cut = [
        group_windows(lambda w: smaller[w.slices()], smaller.shape[:2], chosen, side)
        for chosen in (places, places[:4], places[4:], *([place] for place in places))
    ]
    assert torch.equal(cut[0], torch.cat(cut[1:3]))
    assert torch.equal(cut[0], torch.cat(cut[3:])), "the same whatever the cut"
    patches = enlarge_windows(cut[0], factor, PATCH)
    whole = enlarge(lambda w: smaller[w.slices()], smaller.shape[:2], grid.size, Window(0, 0, *grid.size))
    torch.testing.assert_close(patches, to_patches(whole, grid), atol=1e-6, rtol=0)
    np.testing.assert_allclose(whole, torch_enlarged(smaller, factor), atol=2e-6)


def test_groups_beyond_the_edges_repeat_the_outermost_pixels() -> None:
    smaller = picture(3, 3)
    windows = group_windows(lambda w: smaller[w.slices()], (3, 3), [(-2, -2), (2, 2)], 4)
    padded = np.pad(smaller, [(4, 5), (4, 5), (0, 0)], mode="edge")
    assert np.array_equal(windows[0].numpy(), padded[:8, :8])
    assert np.array_equal(windows[1].numpy(), padded[4:12, 4:12])


@pytest.mark.parametrize("factor", [2, 4])
def test_shrunk_pixels_are_means(factor: int) -> None:
    pixels = picture(1040, 12)
    expected = F.avg_pool2d(torch.from_numpy(pixels).double().permute(2, 0, 1), factor).permute(1, 2, 0).numpy()
    window = Window(0, 0, 1040, 12)
    np.testing.assert_allclose(read_smaller(lambda w: pixels[w.slices()], window, factor), expected, atol=1e-7)


@pytest.mark.parametrize(
    "window", [Window(16, 8, 16, 24), Window(0, 0, 16, 16), Window(9, 5, 16, 8), Window(31, 3, 8, 8)]
)
def test_a_window_has_the_surroundings_that_its_enlargement_needs(window: Window) -> None:
    """Pixels of the smaller version count from the window, whose enlargement then does not end at its borders."""
    factor, pixels = 4, picture(48, 48)
    read = lambda w: pixels[w.slices()]  # noqa: E731
    region, (above, left) = with_surroundings(window, (48, 48), factor)
    assert region.clip(48, 48) == region
    smaller = read_smaller(read, region, factor)
    # The whole image, cut so that its pixels are aligned with those of the window.
    top, start = window.top % factor, window.left % factor
    aligned = Window(top, start, (48 - top) // factor * factor, (48 - start) // factor * factor)
    whole = read_smaller(read, aligned, factor)
    size = whole.shape[0] * factor, whole.shape[1] * factor
    expected = enlarge(lambda w: whole[w.slices()], whole.shape[:2], size, window.shift(-top, -start))
    place = Window(above * factor, left * factor, window.height, window.width)
    large = smaller.shape[0] * factor, smaller.shape[1] * factor
    found = enlarge(lambda w: smaller[w.slices()], smaller.shape[:2], large, place)
    np.testing.assert_allclose(found, expected, atol=1e-6)
