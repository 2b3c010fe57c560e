"""Reads the data that a stage starts from or keeps: a coarser canvas or an initial image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fitcli.device.transfer import to_device
from fitcli.images.window import Window
from fitcli.patches.cutting import cut, join, pad
from fitcli.patches.resampling import enlarge
from fitcli.tasks.diffusion.canvas import Canvas, CanvasLayout
from fitcli.tasks.diffusion.parameterization import add_noise
from fitcli.tasks.diffusion.pixel_source import PixelSource, Values


def canvas_values(canvas: Canvas, patch: int, window: Window) -> Values:
    """Read the data [height width channels] of a window of a canvas."""
    top, left = window.top // patch, window.left // patch
    rows, columns = -(-window.bottom // patch) - top, -(-window.right // patch) - left
    patches = canvas.read(top, left, rows, columns).reshape(rows * columns, 1, -1)
    pixels = join(patches, (patch, patch), (1, 1), columns)
    return pixels[window.shift(-top * patch, -left * patch).slices()]


def canvas_source(canvas: Canvas, patch: int, size: tuple[int, int]) -> PixelSource:
    """Return the data of a canvas without its padding."""
    return PixelSource(size, lambda window: canvas_values(canvas, patch, window))


def enlarge_groups(source: PixelSource, size: tuple[int, int], layout: CanvasLayout, patch: int, part: slice) -> Tensor:
    """Return the data [part n p] of a slice of the groups, from a source enlarged to `size` pixels."""
    side = layout.group * patch
    windows = (Window(top * patch, left * patch, side, side) for top, left in layout.places(part))
    pieces = (enlarge(source.read, source.size, size, window) for window in windows)
    return torch.cat([cut(piece, (patch, patch), (layout.group, layout.group)) for piece in pieces])


@dataclass(frozen=True, slots=True)
class Inpainting:
    """An image that is generated in a window and known elsewhere.

    After every step, noised known data replace the generated data outside the window (RePaint, arXiv:2201.09865,
    equation 8, without its returns in time).

    Attributes:
        source: The known image.
        window: Window that is generated, in pixels.
        patch: Number of pixels per side of a patch.
    """

    source: PixelSource
    window: Window
    patch: int

    def keep(
        self, layout: CanvasLayout, part: slice, values: Tensor, gamma: Tensor, noise: Callable[[], Tensor]
    ) -> Tensor:
        """Return the patches [part n p] of a slice of the groups with the known data, noised to `gamma`, filled in.

        Args:
            layout: Groups over the canvas.
            part: The slice.
            values: Patches [part n p] after a step.
            gamma: Gamma of these patches.
            noise: Returns standard normal noise [part n p]; called only if some data are known.
        """
        side = layout.group * self.patch
        windows = [Window(t * self.patch, le * self.patch, side, side) for t, le in layout.places(part)]
        if all(window.clip(*self.source.size).intersection(self.window) == window for window in windows):
            return values
        channels = values.shape[-1] // self.patch**2
        pieces = [self._group(window, channels) for window in windows]
        shape = (self.patch, self.patch), (layout.group, layout.group)
        on_host = (torch.cat([cut(piece[i], *shape) for piece in pieces]) for i in (0, 1))
        data, known, fresh = (to_device(each, values.device).to(values.dtype) for each in (*on_host, noise()))
        noised = add_noise(data, fresh, gamma)
        return torch.where(known > 0, noised, values)

    def _group(self, window: Window, channels: int) -> tuple[Values, Values]:
        """Return the data of a group, and a mask that is 1 for known data; both [side side channels]."""
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
