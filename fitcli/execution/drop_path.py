"""Stochastic depth: layers that are left out for some images of a step (Huang et al. 2016, arXiv:1603.09382).

What is left out is decided before the step, so that a layer that is computed again in the backward pass, or a handful
of groups at a time, is left out again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from fitcli.device.transfer import to_device
from fitcli.noise import generator
from models.groups import Groups
from models.layers import Call
from models.trunk import Segment, Trunk

STREAM = "drop path"
"""Of the random numbers."""


@dataclass(frozen=True, slots=True)
class DropPath:
    """How much of each layer counts in each image: nothing, or so much more that it is the same on average.

    The layers of `local` and `mix`; never `read` and `write`, the only ways between tokens and latents.

    Attributes:
        local: [b] of each layer that sees tokens.
        mix: [b] of each layer that sees latents.
        images: [g] int64, the image of each group.
    """

    local: dict[nn.Module, Tensor]
    mix: dict[nn.Module, Tensor]
    images: Tensor

    def over(self, part: slice, call: Call) -> Call:
        """How a layer is run over a slice of the groups, or over all images, given how it would be run without."""

        def run(layer: nn.Module, x: Tensor, *arguments: Any) -> Tensor:
            after = call(layer, x, *arguments)
            if (counts := self.mix.get(layer)) is None:
                if (each := self.local.get(layer)) is None:
                    return after
                counts = each[self.images[part]]
            # Every layer adds to what it is given.
            return x + counts[:, None, None].to(x.dtype) * (after - x)

        return cast(Call, run)


def draw_drop_path(
    trunk: Trunk, groups: Groups, showings: Sequence[tuple[int, int]], rate: float, seed: int
) -> DropPath:
    """Decide what is left out.

    Args:
        trunk: Of the model.
        groups: Of the batch, on the device of the model.
        showings: (epoch, number of the sample) of each image: the decision follows from them and the seed alone.
        rate: Of the last layer, in [0, 1); it falls linearly to 0 for the first.
        seed: Of the run.
    """
    segments = list(cast("list[Segment]", trunk.segments))
    layers = [layer for s in segments for layer in (*s.local, *(() if s.mix is None else s.mix.stack))]
    device = groups.number.device
    rates = torch.linspace(0, rate, len(layers), dtype=torch.float64)
    drawn = [
        generator(seed, STREAM, image=sample, step=epoch).random(len(layers)).tolist() for epoch, sample in showings
    ]
    kept = (torch.tensor(drawn, dtype=torch.float64) >= rates) / (1 - rates)  # [b layers]
    counts = dict(zip(layers, to_device(kept.float().T, device), strict=True))
    local = {layer for segment in segments for layer in segment.local}
    return DropPath(
        local={layer: count for layer, count in counts.items() if layer in local},
        mix={layer: count for layer, count in counts.items() if layer not in local},
        images=groups.image_of_group(),
    )
