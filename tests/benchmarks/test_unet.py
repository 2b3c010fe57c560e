"""The U-Net of the comparison covers every pixel of an image with its tiles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.support.unet import MARGIN, TILE, UNet, classify_tiles, to_input
from fitcli.images.base import ImageInfo
from fitcli.images.open import create_image, open_image
from fitcli.images.window import Window


@pytest.mark.parametrize("stride", [1, 2, 4])
def test_outputs_have_the_stride(stride: int) -> None:
    model = UNet(5, stride, width=4, depth=3)
    assert model(torch.zeros(2, 3, 32, 64)).shape == (2, 5, 32 // stride, 64 // stride)


class Brightness(UNet):
    """Finds class 1 where a cell of 2 x 2 pixels is bright in the mean, without any context."""

    def __init__(self) -> None:
        super().__init__(2, 2, width=2, depth=1)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        bright = torch.nn.functional.avg_pool2d(pixels.mean(1, keepdim=True), 2)
        return torch.cat([-bright, bright], dim=1)


def test_tiles_cover_the_image_in_place(tmp_path: Path) -> None:
    height, width = 2 * TILE - 2 * MARGIN + 10, TILE + 6
    rng = np.random.default_rng(0)
    cells = rng.integers(0, 2, (-(-height // 2), -(-width // 2))).astype(np.uint8)
    truth = cells.repeat(2, 0).repeat(2, 1)[:height, :width]
    info = ImageInfo(height=height, width=width, channels=3, dtype=np.dtype(np.uint8), color=True)
    with create_image(tmp_path / "image.png", info) as image:
        image.write(Window(0, 0, height, width), np.stack([truth * 255] * 3, axis=-1))
    with open_image(tmp_path / "image.png") as image:
        found = list(classify_tiles(Brightness(), image, 2))
    assert all(strip.shape[1] == width for strip in found)
    np.testing.assert_array_equal(np.concatenate(found), truth)


def test_the_input_is_symmetric() -> None:
    given = to_input(np.array([0, 255], np.uint8).reshape(1, 1, 2, 1).repeat(3, -1))
    assert given.shape == (1, 3, 1, 2)
    assert given.unique().tolist() == [-1, 1]
