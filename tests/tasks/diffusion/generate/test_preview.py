"""A preview is a small picture of the estimated data, written after the last group of a step."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from fitcli.errors import FitError
from fitcli.images.open import open_image
from fitcli.images.window import Window
from fitcli.patches.cutting import to_patches
from fitcli.patches.grid import PatchGrid
from fitcli.tasks.diffusion.generate.preview import EVERY, LONGEST_SIDE, Preview
from fitcli.tasks.diffusion.generate.stages import Stage
from fitcli.tasks.diffusion.sampling import StepResult

PATCH, GROUP = 4, 4


def stage(size: tuple[int, int], steps: int = 10) -> Stage:
    return Stage(size=size, patch=PATCH, group=GROUP, start=1.0, steps=steps)


def shown(path: Path, size: tuple[int, int], channels: int, handful: int = 5) -> np.ndarray:
    """The picture of data that are -0.5 in the upper half and 0.5 in the lower half, at scale 1."""
    current = stage(size)
    layout = current.layout()
    grid = PatchGrid((layout.rows * PATCH, layout.columns * PATCH), PATCH, GROUP)
    pixels = np.full((*grid.size, channels), -0.5, np.float32)
    pixels[size[0] // 2 :] = 0.5
    data = to_patches(pixels, grid)
    preview = Preview(path, scale=1.0)
    for start in range(0, layout.count, handful):
        assert not path.exists(), "not before the last group"
        part = slice(start, min(start + handful, layout.count))
        nothing = torch.zeros(0)
        preview.update(current, layout, StepResult(part, nothing, None, data[part], nothing, nothing))
    with open_image(path) as image:
        return image.read(Window(0, 0, *image.info.size))


@pytest.mark.parametrize(("channels", "written"), [(1, 1), (2, 1), (3, 3), (5, 3)])
def test_a_small_image_is_shown_as_it_is(tmp_path: Path, channels: int, written: int) -> None:
    picture = shown(tmp_path / "small.png", (40, 50), channels)
    assert picture.shape == (40, 50, written)
    assert np.unique(picture[:20]).tolist() == [64]
    assert np.unique(picture[20:]).tolist() == [191]


def test_a_large_image_is_shrunk(tmp_path: Path) -> None:
    picture = shown(tmp_path / "small.png", (1200, 600), 1, handful=1000)
    assert picture.shape[:2] == (300, 150)
    assert max(picture.shape) <= LONGEST_SIDE
    assert (picture[:149].mean(), picture[151:].mean()) == (64, 191)


def test_every_few_steps_of_an_unshifted_grid_are_shown(tmp_path: Path) -> None:
    preview, current = Preview(tmp_path / "small.jpg", 1.0), stage((40, 50), steps=10)
    due = [step for step in range(10) if preview.is_due(current, current.layout(), step)]
    assert due == [0, EVERY, 2 * EVERY, 9]
    assert not any(preview.is_due(current, current.layout(shifted=True), step) for step in range(10))


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FitError, match=r"small\.tif: is not a small picture; give a \.png or \.jpg"):
        Preview(tmp_path / "small.tif", 1.0)
    with pytest.raises(FitError, match="no folder"):
        Preview(tmp_path / "missing" / "small.png", 1.0)
