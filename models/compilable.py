"""Parts of a model that `torch.compile` can turn into one graph each, so that what lies between products is fused.

Compiled is what is inside of a region, not who calls it: every driver runs the same regions, and hooks, recomputation
and the gathering of shared weights stay outside. All regions of a class have one compiled function, so that layers that
are alike share their graphs: one for each kind of layer, of mask, and of mode (gradients, autocast).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, cast

import torch
from torch import Tensor, nn

Computation = Callable[..., Tensor]
"""Given a region and its arguments."""

Backend = str | Callable[..., Any]
"""Of `torch.compile`."""

GRAPHS = 64
"""That a class of regions may have. A job needs a dozen; beyond this it is an error, never a quiet return to eager."""


class Region(nn.Module):
    """A module that can be compiled as one. Subclasses write `compute` where others write `forward`.

    Attributes:
        dynamic_axes: How many of the first axes of the arguments differ in size from call to call: 1 where that is the
            groups, 2 where images and their latents.
    """

    dynamic_axes = 1

    def __init__(self) -> None:
        super().__init__()
        self._compiled: Computation | None = None

    def compute(self, *arguments: Any) -> Tensor:
        """What the region does: tensors to a tensor, without a look at their values."""
        raise NotImplementedError

    def forward(self, *arguments: Any) -> Tensor:
        """`compute`, compiled or not."""
        # A graph of its own for no groups at all would be one for nothing.
        if self._compiled is None or not arguments[0].numel():
            return self.compute(*arguments)
        return self._compiled(self, *arguments)


def compile_regions(model: nn.Module, backend: Backend = "inductor") -> None:
    """Have the regions of a model compiled, each kind when it is first called. Its state dict stays as it is.

    What calls a part of a region stays eager: decoding with caches, layers in pieces, the weights of `read` for heat
    maps, and layers that gather the latents of other ranks.

    Args:
        model: On its device, in the dtypes that it is to have.
        backend: Of `torch.compile`; another one than its default for tests.
    """
    for module in model.modules():
        if isinstance(module, Region):
            module._compiled = _compiled(type(module).compute, backend)


@cache
def _compiled(compute: Computation, backend: Backend) -> Computation:
    """Takes the region as an argument: a copy of a model uses its own weights."""
    # Importing it takes seconds.
    from torch import _dynamo

    config, mark = cast(Any, _dynamo).config, cast(Any, _dynamo).maybe_mark_dynamic
    config.recompile_limit = max(config.recompile_limit, GRAPHS)
    # A whole graph or an error: what breaks a graph in two would be slow without a word.
    graph = torch.compile(compute, fullgraph=True, backend=backend)

    def run(region: Region, *arguments: Any) -> Tensor:
        plain = [_plain(value) if isinstance(value, Tensor) else value for value in arguments]
        for value in plain:
            if isinstance(value, Tensor):
                for axis in _dynamic_axes(value, region.dynamic_axes):
                    mark(value, axis)
        return graph(region, *plain)

    return run


def _plain(value: Tensor) -> Tensor:
    """A tensor that is no view: a graph would be one for the tensor behind it and for its place in that, too.

    Copied are latents of a handful and masks, which are small beside its tokens; and tokens that rest on the device.
    """
    return value if value._base is None and not value.storage_offset() else value.clone()


def _dynamic_axes(value: Tensor, axes: int) -> list[int]:
    """The axes whose sizes are free, so that which graph runs follows from a call alone, and not from those before it.

    Were the first size compiled for itself and all others by a second graph, as by default, a layer that is run again
    for its gradients could meet another graph than at first, which need not keep the same tensors. A size of 1 always
    has a graph of its own.
    """
    # No axis of a mask is a width.
    count = value.ndim if axes > 1 and value.dtype is torch.bool else min(axes, value.ndim)
    return [axis for axis in range(count) if value.shape[axis] > 1]
