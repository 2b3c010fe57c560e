"""The smaller version of one image that is enlarged: its network sees it in every step of the sampling."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fitcli.device.transfer import to_device
from fitcli.images.window import Window
from fitcli.noise import group_noise
from fitcli.patches.cutting import to_tensor
from fitcli.patches.resampling import enlarge
from fitcli.streaming.token_store import StoreKind
from fitcli.tasks.diffusion.canvas import Canvas, CanvasLayout, open_canvas
from fitcli.tasks.diffusion.config import Enlarging
from fitcli.tasks.diffusion.smaller_image import Read, enlarge_windows, group_windows

SQUARE = 64
"""Side of the squares in which the smaller version is stored, in its pixels; the noise of each has an address."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GivenImage:
    """The smaller version of an image, with noise, and the patches of its enlargement.

    Attributes:
        canvas: Its pixels, one per patch of the canvas.
        enlarging: How the run enlarges.
        patch: Number of pixels per side of a patch of the enlarged image.
        level: Noise on it, as the network is told.
    """

    canvas: Canvas
    enlarging: Enlarging
    patch: int
    level: float

    def patches(self, layout: CanvasLayout, part: slice, device: torch.device) -> Tensor:
        """Return the enlarged patches [part n p] of a slice of the groups."""
        factor, patch = self.enlarging.factor, self.patch
        places = [(top * patch // factor, left * patch // factor) for top, left in layout.places(part)]
        size = self.canvas.rows, self.canvas.columns
        windows = group_windows(self._read, size, places, layout.group * patch // factor)
        return enlarge_windows(to_device(windows, device), factor, patch)

    def add(self, difference: Tensor, layout: CanvasLayout, part: slice) -> Tensor:
        """Return the patches [part n p] of the image, from those that the diffusion predicts."""
        return difference * self.enlarging.unit + self.patches(layout, part, difference.device)

    def add_window(self, difference: NDArray[np.float32], window: Window) -> NDArray[np.float32]:
        """Return a window of the image, from the data that the diffusion predicts."""
        size, factor = (self.canvas.rows, self.canvas.columns), self.enlarging.factor
        enlarged = enlarge(self._read, size, (size[0] * factor, size[1] * factor), window)
        return difference * np.float32(self.enlarging.unit) + enlarged

    def _read(self, window: Window) -> NDArray[np.float32]:
        pixels: NDArray[np.float32] = self.canvas.read(*window_of(window)).cpu().numpy()
        return pixels


def window_of(window: Window) -> tuple[int, int, int, int]:
    """Return (top, left, rows, columns) of a window, as canvases take them."""
    return window.top, window.left, window.height, window.width


@contextmanager
def given_image(
    read: Read,
    size: tuple[int, int],
    channels: int,
    enlarging: Enlarging,
    patch: int,
    scale: float,
    noise: float,
    seed: int,
    number: int,
    store: StoreKind,
) -> Iterator[GivenImage]:
    """Copy a smaller version to a canvas, with noise, so that its file is decoded once.

    Args:
        read: Returns the data of a window of the smaller version.
        size: Its (height, width), in pixels.
        channels: Number of channels.
        enlarging: How the run enlarges.
        patch: Number of pixels per side of a patch of the enlarged image.
        scale: Scale of the data.
        noise: Standard deviation of the noise, as a share of the range from black to white.
        seed, number: Seed of the noise and number of the image.
        store: Kind of the store of the canvas.

    Raises:
        FitError: There is not enough memory or disk space.
    """
    height, width = size
    # The windows of groups are cut on the host.
    kind: StoreKind = "disk" if store == "disk" else "host"
    canvas = open_canvas(kind, height, width, channels, torch.device("cpu"))
    try:
        columns = -(-width // SQUARE)
        for index in range(-(-height // SQUARE) * columns):
            top, left = index // columns * SQUARE, index % columns * SQUARE
            window = Window(top, left, SQUARE, SQUARE).clip(height, width)
            values = to_tensor(np.array(read(window), np.float32))
            if noise:
                drawn = group_noise(seed, "smaller version", [index], (SQUARE**2, channels), number)
                square = drawn.reshape(SQUARE, SQUARE, channels)[: window.height, : window.width]
                values = values + 2 * scale * noise * square
            canvas.write(top, left, values)
        yield GivenImage(canvas=canvas, enlarging=enlarging, patch=patch, level=enlarging.level(noise))
    finally:
        canvas.close()
