"""Blends the estimates of two steps whose groups lie differently, so that no border of a group shows.

A group sees its own pixels alone, so its estimates are worst at its border. If the groups are shifted by half a group
in every other step, these pixels were in the middle of a group in the step before.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor

from fitcli.tasks.diffusion.canvas import CanvasLayout


@dataclass(frozen=True, slots=True)
class GridBlend:
    """The share of the estimate of a step, beside that of the step before, for every pixel.

    Attributes:
        own: Groups of the step.
        before: Groups of the step before.
        patch: Number of pixels per side of a patch.
    """

    own: CanvasLayout
    before: CanvasLayout
    patch: int

    def share(self, part: slice, like: Tensor) -> Tensor:
        """Return the share of each value of a slice of the groups: 1 inside a group, falling to 0 at its borders.

        It stays above 0 where groups of the step before have their borders, too. The edges of the canvas are no
        borders.

        Args:
            part: The slice of the groups of the step.
            like: Patches [part n p], which decide shape, dtype and device.
        """
        side, places = self.own.group * self.patch, self.own.places(part)
        own: list[Tensor] = []  # [part side] along each axis
        before: list[Tensor] = []
        for axis, count in ((0, self.own.rows), (1, self.own.columns)):
            starts = torch.tensor([place[axis] * self.patch for place in places], device=like.device)
            pixels = starts[:, None] + torch.arange(side, device=like.device)  # [part side]
            for layout, weights in ((self.own, own), (self.before, before)):
                weights.append(self._inside(pixels, layout.offset * self.patch, side, count * self.patch))
        inside, covered = (y[:, :, None] * x[:, None, :] for y, x in (own, before))  # [part side side]
        # Where both have a border, a sum of 0 would divide: half a pixel from it, weights are above 0.
        share = (inside / (inside + (1 - inside) * covered)).to(like.dtype)
        patches = rearrange(share, "g (i y) (j x) -> g (i j) (y x)", y=self.patch, x=self.patch)
        return patches.repeat_interleave(like.shape[-1] // self.patch**2, dim=-1)

    @staticmethod
    def _inside(pixels: Tensor, offset: int, side: int, extent: int) -> Tensor:
        """Return a weight for each row or column of pixels: 0 at a border between groups, 1 far inside of a group."""
        start = torch.div(pixels + offset, side, rounding_mode="floor") * side - offset
        middle = pixels + 0.5
        after_start = torch.where(start > 0, middle - start, side)
        before_end = torch.where(start + side < extent, start + side - middle, side)
        depth = torch.minimum(after_start, before_end) / (REACH * side)
        return torch.sin(math.pi / 2 * depth.clamp(max=1)).square()


REACH = 0.25
"""Distance from a border, in sides of a group, from which on the share is 1."""
