"""Where places lie on a slide, and the pixels of a layer over them."""

from __future__ import annotations

import pytest

from fitcli.images.feature_grid import FINEST, FeatureGrid, LayerFrame, layer_frame


@pytest.mark.parametrize(
    ("grid", "frame"),
    [
        (FeatureGrid(), LayerFrame(4, 6, 0, 0, 1, 1.0)),
        (FeatureGrid(side=512, left=1024, top=512), LayerFrame(5, 8, 1, 2, 1, 512.0)),
        (FeatureGrid(side=512, left=1024, top=512, slide=(4000, 6000)), LayerFrame(8, 12, 1, 2, 1, 512.0)),
        # The slide ends within the last row of places.
        (FeatureGrid(side=512, slide=(1600, 3000)), LayerFrame(4, 6, 0, 0, 1, 512.0)),
        # Places begin at halves and quarters of their side.
        (FeatureGrid(side=512, left=256, top=128), LayerFrame(17, 26, 1, 2, 4, 128.0)),
        (FeatureGrid(side=500, left=1, top=1000), LayerFrame(32 + 4 * FINEST, 6 * FINEST, 32, 0, FINEST, 31.25)),
    ],
)
def test_layers_begin_at_the_corner_of_the_slide(grid: FeatureGrid, frame: LayerFrame) -> None:
    assert layer_frame(grid, (4, 6)) == frame


def test_parts_and_other_scales() -> None:
    grid = FeatureGrid(side=512, left=100, top=200, missing=7)
    part = grid.crop(2, 3)
    assert (part.left, part.top, part.side, part.missing) == (100 + 3 * 512, 200 + 2 * 512, 512, None)
    assert grid.crop(0, 0) == grid
    assert (grid.resize(2.0).side, grid.resize(2.0).left) == (1024, 100)
    assert grid.resize(1.0) == grid


def test_microns_that_follow_from_the_magnification() -> None:
    assert FeatureGrid().nominal_mpp is None
    assert FeatureGrid(magnification=40).nominal_mpp == 0.25
    assert FeatureGrid(magnification=40, mpp=0.2527).nominal_mpp == 0.2527
