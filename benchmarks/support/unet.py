"""A small U-Net for tiles, to compare with: the usual model of dense outputs (Ronneberger et al. 2015, 1505.04597)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from fitcli.images.base import ImageReader
from fitcli.images.window import Window

WIDTH, DEPTH = 24, 4
"""Channels at full resolution, which double with every halving of the image, and the number of halvings."""

TILE, MARGIN = 256, 32
"""Side of a tile in pixels, and how much of it on each side only gives context."""


class UNet(nn.Module):
    """Two convolutions at each resolution on the way down and up; the outputs stand for cells of several pixels.

    Args:
        classes: Outputs per cell.
        stride: Side of a cell in pixels, a power of two.
    """

    def __init__(self, classes: int, stride: int, width: int = WIDTH, depth: int = DEPTH) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(depth + 1)]
        self.start = _convolutions(3, width)
        self.down = nn.ModuleList(_convolutions(here, below) for here, below in pairwise(widths))
        levels = range(depth - 1, stride.bit_length() - 2, -1)
        self.grow = nn.ModuleList(nn.ConvTranspose2d(widths[level + 1], widths[level], 2, 2) for level in levels)
        self.up = nn.ModuleList(_convolutions(2 * widths[level], widths[level]) for level in levels)
        self.head = nn.Conv2d(widths[stride.bit_length() - 1], classes, 1)

    def forward(self, pixels: Tensor) -> Tensor:
        """Map pixels [b 3 height width], sides divisible by 2**depth, to logits [b k height/stride width/stride]."""
        kept = [self.start(pixels)]
        for convolutions in self.down:
            kept.append(convolutions(functional.max_pool2d(kept[-1], 2)))
        x = kept.pop()
        for grow, convolutions in zip(self.grow, self.up, strict=True):
            x = convolutions(torch.cat([grow(x), kept.pop()], dim=1))
        logits: Tensor = self.head(x)
        return logits


def _convolutions(channels: int, out: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before in (channels, out):
        layers += [nn.Conv2d(before, out, 3, padding=1, bias=False), nn.BatchNorm2d(out), nn.ReLU()]
    return nn.Sequential(*layers)


def to_input(pixels: NDArray[np.uint8]) -> Tensor:
    """Turn pixels [b height width 3] into the input of the model."""
    return torch.tensor(pixels).movedim(-1, 1).float() / 127.5 - 1


@torch.inference_mode()
def classify_tiles(model: UNet, image: ImageReader, stride: int) -> Iterator[NDArray[np.uint8]]:
    """Yield the classes of the pixels of an image as strips [height width], from top to bottom.

    The tiles overlap, so that no pixel is at the edge of its tile unless it is at the edge of the image.
    """
    model.eval()
    height, width = image.info.size
    step = TILE - 2 * MARGIN
    for top in range(0, height, step):
        strip = np.empty((min(step, height - top), width), np.uint8)
        for left in range(0, width, step):
            logits = model(to_input(_tile(image, top - MARGIN, left - MARGIN)[None]))
            classes = logits[0].argmax(0).to(torch.uint8).numpy().repeat(stride, 0).repeat(stride, 1)
            part = strip[:, left : left + step]
            part[:] = classes[MARGIN:, MARGIN:][: part.shape[0], : part.shape[1]]
        yield strip


def _tile(image: ImageReader, top: int, left: int) -> NDArray[np.uint8]:
    """Read a tile; pixels beyond the edge of the image repeat its last ones."""
    window = Window(top, left, TILE, TILE)
    inside = window.clip(*image.info.size)
    before, after = (inside.top - top, inside.left - left), (window.bottom - inside.bottom, window.right - inside.right)
    return np.pad(image.read(inside), ((before[0], after[0]), (before[1], after[1]), (0, 0)), mode="edge")
