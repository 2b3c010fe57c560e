"""Compile parts of a model with `torch.compile`, one graph each, to fuse the operations between matrix products.

This is regional compilation: only `Region.compute` is compiled, not its callers. Every driver runs the same regions;
hooks, recomputation and the gathering of sharded weights stay outside the graphs. All regions of one class call one
compiled function, so that identical layers share graphs: one per kind of layer and mode (gradients, autocast).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, cast

import torch
from torch import Tensor, nn

Computation = Callable[..., Tensor]
"""Called with a region and its arguments."""

Backend = str | Callable[..., Any]
"""The `backend` argument of `torch.compile`."""

GRAPHS = 64
"""Largest number of graphs per class of regions. A job needs a dozen; beyond the limit `torch.compile` raises an error
instead of silently running eagerly."""


class Region(nn.Module):
    """A module that can be compiled as one graph. Subclasses implement `compute` instead of `forward`."""

    def __init__(self) -> None:
        super().__init__()
        self._compiled: Computation | None = None

    def compute(self, *arguments: Any) -> Tensor:
        """Compute a tensor from tensors, without reading their values."""
        raise NotImplementedError

    def forward(self, *arguments: Any) -> Tensor:
        """Run `compute`, compiled if `compile_regions` was called."""
        # Without groups there is nothing to compute, and a graph for that size would count towards the limit.
        if self._compiled is None or not arguments[0].numel():
            return self.compute(*arguments)
        return self._compiled(self, *arguments)


def compile_regions(model: nn.Module, backend: Backend = "inductor") -> None:
    """Compile the regions of a model, each kind at its first call. The state dict does not change.

    Code that calls only a part of a region stays eager: decoding with a KV cache, piecewise layers, the weights of
    `read` for heat maps, layers that gather the latents of other ranks, and attention in causal strips.

    Args:
        model: Model on its final device and in its final dtypes.
        backend: Backend of `torch.compile`; tests pass other ones.
    """
    for module in model.modules():
        if isinstance(module, Region):
            module._compiled = _compiled(type(module).compute, backend)


@cache
def _compiled(compute: Computation, backend: Backend) -> Computation:
    """Compile `compute`. The region is an argument of the result, so that a copy of a model uses its own weights."""
    # This import takes seconds.
    from torch import _dynamo

    config, mark = cast(Any, _dynamo).config, cast(Any, _dynamo).maybe_mark_dynamic
    config.recompile_limit = max(config.recompile_limit, GRAPHS)
    # With fullgraph=True a graph break is an error; otherwise it would only be slow.
    graph = torch.compile(compute, fullgraph=True, backend=backend)

    def run(region: Region, *arguments: Any) -> Tensor:
        owned = [_owned(value) if isinstance(value, Tensor) else value for value in arguments]
        for value in owned:
            if isinstance(value, Tensor):
                for axis in _dynamic_axes(value):
                    mark(value, axis)
        return graph(region, *owned)

    return run


def _owned(value: Tensor) -> Tensor:
    """Return a tensor that is no view: a graph is specialised to the base of a view and its offset, too.

    The copies are small beside the tokens of a handful: its latents and masks. Tokens are copied only if they are kept
    on the device between sweeps.
    """
    return value if value._base is None and not value.storage_offset() else value.clone()


def _dynamic_axes(value: Tensor) -> list[int]:
    """Return the axes to mark dynamic from the first call on: groups and their tokens, or images and their latents.

    By default `torch.compile` specialises the first size and compiles a second graph for all others. A layer that is
    recomputed for its gradients could then hit another graph than in its forward pass, which may save other tensors.
    An axis of size 1 always has its own graph.
    """
    return [axis for axis in range(min(2, value.ndim)) if value.shape[axis] > 1]
