"""Where data comes from that a stage begins with or keeps: a coarser canvas, or an image that is there already."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fitcli.device.transfer import to_device
from fitcli.images.base import ImageReader
from fitcli.images.window import Window
from fitcli.patches.cutting import cut, join, pad
from fitcli.patches.preprocessing import Preprocessing
from fitcli.patches.resampling import enlarge
from fitcli.patches.value_range import PixelRange
from fitcli.tasks.diffusion.canvas import Canvas, CanvasLayout
from fitcli.tasks.diffusion.parameterization import add_noise

Values = NDArray[np.float32]
"""[height width channels] as the network knows them: data in [-scale, scale]."""


@dataclass(frozen=True, slots=True)
class PixelSource:
    """Data of an image by windows.

    Attributes:
        size: (height, width) in pixels.
        read: Gives the data of a window that lies on the image.
    """

    size: tuple[int, int]
    read: Callable[[Window], Values]


def canvas_values(canvas: Canvas, patch: int, window: Window) -> Values:
    """The values of a window [height width channels] of a canvas."""
    top, left = window.top // patch, window.left // patch
    rows, columns = -(-window.bottom // patch) - top, -(-window.right // patch) - left
    patches = canvas.read(top, left, rows, columns).reshape(rows * columns, 1, -1)
    pixels = join(patches, (patch, patch), (1, 1), columns)
    return pixels[window.shift(-top * patch, -left * patch).slices()]


def of_canvas(canvas: Canvas, patch: int, size: tuple[int, int]) -> PixelSource:
    """What was generated at a coarser size, without its padding."""
    return PixelSource(size, lambda window: canvas_values(canvas, patch, window))


def of_image(image: ImageReader, preprocessing: Preprocessing, scale: float) -> PixelSource:
    """An image that is there already."""
    values = PixelRange.of(preprocessing)

    def read(window: Window) -> Values:
        pixels = preprocessing.convert(image.read(window), image.info)
        return (values.to_values(pixels) * 2 - 1) * np.float32(scale)

    return PixelSource(image.info.size, read)


def enlarged(source: PixelSource, size: tuple[int, int], layout: CanvasLayout, patch: int, part: slice) -> Tensor:
    """Data [part n p] of a slice of the groups, from a source enlarged to `size` pixels."""
    side = layout.group * patch
    windows = (Window(top * patch, left * patch, side, side) for top, left in layout.places(part))
    pieces = (enlarge(source.read, source.size, size, window) for window in windows)
    return torch.cat([cut(piece, (patch, patch), (layout.group, layout.group)) for piece in pieces])


@dataclass(frozen=True, slots=True)
class Inpainting:
    """An image that is kept but for a window: after every step, what is known is put in place of what was made up.

    Replacement, without the returns in time, of RePaint (arXiv:2201.09865, equation 8).

    Attributes:
        source: The image.
        window: Of it that is made up, in pixels.
        patch: Pixels per side of a patch.
    """

    source: PixelSource
    window: Window
    patch: int

    def keep(
        self, layout: CanvasLayout, part: slice, values: Tensor, gamma: Tensor, noise: Callable[[], Tensor]
    ) -> Tensor:
        """Patches [part n p] of a slice of the groups with what is known, noised to `gamma`, where it is.

        Args:
            noise: Gives standard normal noise [part n p].
        """
        side = layout.group * self.patch
        windows = [Window(t * self.patch, le * self.patch, side, side) for t, le in layout.places(part)]
        if all(window.clip(*self.source.size).intersection(self.window) == window for window in windows):
            return values
        channels = values.shape[-1] // self.patch**2
        pieces = [self._group(window, channels) for window in windows]
        shape = (self.patch, self.patch), (layout.group, layout.group)
        there = (torch.cat([cut(piece[i], *shape) for piece in pieces]) for i in (0, 1))
        data, known, fresh = (to_device(each, values.device).to(values.dtype) for each in (*there, noise()))
        noised = add_noise(data, fresh, gamma)
        return torch.where(known > 0, noised, values)

    def _group(self, window: Window, channels: int) -> tuple[Values, Values]:
        """Data of a group, and 1 where it is known; both [side side channels]."""
        inside = window.clip(*self.source.size)
        if inside.area == 0:
            nothing = np.zeros((window.height, window.width, channels), np.float32)
            return nothing, nothing
        data = self.source.read(inside)
        known = np.ones_like(data)
        known[inside.intersection(self.window).shift(-inside.top, -inside.left).slices()] = 0
        above, left = inside.top - window.top, inside.left - window.left
        framed = [np.pad(a, ((above, 0), (left, 0), (0, 0)), mode="edge") for a in (data, known)]
        return pad(framed[0], window.height, window.width), pad(framed[1], window.height, window.width)
