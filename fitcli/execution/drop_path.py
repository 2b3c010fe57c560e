"""Stochastic depth: skips random layers for some images of a step (Huang et al. 2016, arXiv:1603.09382).

The skipped layers are drawn before the step. So a layer that is recomputed in the backward pass, or that runs over one
handful of groups after another, makes the same choice each time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from fitcli.device.transfer import to_device
from fitcli.noise import generator
from models.groups import Groups
from models.layers import Call
from models.trunk import Segment, Trunk

STREAM = "drop path"
"""Name of the stream of random numbers."""


@dataclass(frozen=True, slots=True)
class DropPath:
    """The factor of each layer for each image: 0 where it is skipped, else 1 / (1 - rate), so that the mean is 1.

    A factor scales what a layer adds to its input. Layers of `local` and `mix` have one. `read` and `write` are never
    skipped: they are the only paths between tokens and latents.

    Attributes:
        local: Factors [b] of each layer that runs over tokens.
        mix: Factors [b] of each layer that runs over latents.
        images: Number of the image of each group, [g] int64.
    """

    local: dict[nn.Module, Tensor]
    mix: dict[nn.Module, Tensor]
    images: Tensor

    def scale(self, call: Call, part: slice) -> Call:
        """Return `call` with its results scaled, for a slice of the groups (`local`) or for all images (`mix`)."""
        return _ScaledCall(self, call, self.images[part])


@dataclass(frozen=True, slots=True)
class _ScaledCall:
    """A call that scales what layers add; a `models.layers.GroupCall`.

    Attributes:
        drop_path: Factors of the layers.
        call: Runs a layer.
        images: Number of the image of each group that a layer of `local` runs over, [r] int64.
    """

    drop_path: DropPath
    call: Call
    images: Tensor

    def __call__(self, layer: nn.Module, x: Tensor, *arguments: Any) -> Tensor:
        after = self.call(layer, x, *arguments)
        if (by_image := self.drop_path.mix.get(layer)) is not None:
            factors = self._of_latents(by_image, x)
        elif (by_image := self.drop_path.local.get(layer)) is not None:
            factors = by_image[self.images][:, None, None]
        else:
            return after
        # Every layer is residual: the difference is what it adds.
        return x + factors.to(x.dtype) * (after - x)

    def of_groups(self, groups: Tensor | slice) -> _ScaledCall:
        """Return the call for some of the groups, given by their indices [r] int64 or as a slice."""
        return replace(self, images=self.images[groups])

    def _of_latents(self, by_image: Tensor, x: Tensor) -> Tensor:
        """Return the factors of latents x [b t d], or [1 t d] with the latents of all images in one sequence."""
        if len(x) == len(by_image):
            return by_image[:, None, None]
        each = by_image[self.drop_path.images]  # of each group
        return each.repeat_interleave(x.shape[1] // len(each))[None, :, None]


def draw_drop_path(
    trunk: Trunk, groups: Groups, showings: Sequence[tuple[int, int]], rate: float, seed: int
) -> DropPath:
    """Draw the layers that each image of a batch skips.

    Args:
        trunk: The trunk of the model.
        groups: All groups of the batch, on the device of the model.
        showings: (epoch, sample number) of each image. Together with the seed they determine the draw.
        rate: Probability that the last layer is skipped, in [0, 1). It falls linearly to 0 at the first layer.
        seed: Seed of the run.
    """
    segments = list(cast("list[Segment]", trunk.segments))
    layers = [layer for s in segments for layer in (*s.local, *(() if s.mix is None else s.mix.stack))]
    device = groups.number.device
    rates = torch.linspace(0, rate, len(layers), dtype=torch.float64)
    uniform = [
        generator(seed, STREAM, image=sample, step=epoch).random(len(layers)).tolist() for epoch, sample in showings
    ]
    kept = (torch.tensor(uniform, dtype=torch.float64) >= rates) / (1 - rates)  # [b layers]
    factors = dict(zip(layers, to_device(kept.float().T, device), strict=True))
    local = {layer for segment in segments for layer in segment.local}
    return DropPath(
        local={layer: factor for layer, factor in factors.items() if layer in local},
        mix={layer: factor for layer, factor in factors.items() if layer not in local},
        images=groups.image_of_group(),
    )
