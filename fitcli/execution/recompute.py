"""Calls layers so that the backward pass recomputes them, wholly or in part, and sets the precision of both passes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any, TypeVar

import torch
from torch.utils.checkpoint import checkpoint, create_selective_checkpoint_contexts

from fitcli.execution.plan import ExecutionPlan
from models.layers import Call, direct

T = TypeVar("T")

ATTENTION = [
    torch.ops.aten._scaled_dot_product_flash_attention.default,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default,
    torch.ops.aten._scaled_dot_product_efficient_attention.default,
    torch.ops.aten._scaled_dot_product_cudnn_attention.default,
]
"""Attention operations. In the global layers they alone are quadratic in the size of the image, and their results are
small."""

PRODUCTS = [torch.ops.aten.mm.default, torch.ops.aten.addmm.default, torch.ops.aten.bmm.default]
"""Matrix products. With attention they take nearly all of the time, and their results are little more than half of what
autograd saves."""


def recompute(function: Callable[..., T], *arguments: Any) -> T:
    """Call a function and keep only its arguments; the backward pass calls it again."""
    # No layer draws random numbers, so the state of the generators need not be saved.
    result: T = checkpoint(function, *arguments, use_reentrant=False, preserve_rng_state=False)
    return result


def recompute_except(operations: list[Any], function: Callable[..., T], *arguments: Any) -> T:
    """Call a function and keep its arguments and the results of `operations`; the backward pass recomputes the rest.

    Do not call it inside `recompute`: the kept results would live as long as they do without it. Compiled layers run
    eagerly in here, since operations inside a graph cannot be selected.
    """

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        first, again = create_selective_checkpoint_contexts(operations)  # type: ignore[no-untyped-call]
        return _eager(first), _eager(again)

    result: T = checkpoint(function, *arguments, use_reentrant=False, preserve_rng_state=False, context_fn=contexts)
    return result


@contextmanager
def _eager(context: AbstractContextManager[object]) -> Iterator[None]:
    with torch.compiler.set_stance("force_eager"), context:
        yield


def recompute_cheap(function: Callable[..., T], *arguments: Any) -> T:
    """Call a function and keep matrix products and attention; norms, activation functions and casts run again."""
    return recompute_except(PRODUCTS + ATTENTION, function, *arguments)


def global_call(plan: ExecutionPlan) -> Call:
    """Return the `Call` for the layers of `mix`."""
    match plan.global_layers:
        case "keep":
            return direct
        case "selective":
            return recompute_cheap
        case "attention":
            return partial(recompute_except, ATTENTION)
        case "checkpoint" | "rerun":
            return recompute


def uncached_autocast(device: torch.device) -> torch.autocast:
    """Return the current autocast, enabled or not, without its cache of cast weights.

    A handful that found a weight in the cache would run other operations than its replay does. And the gradients of a
    cached weight would be summed over the handfuls in low precision.
    """
    kind = device.type
    return torch.autocast(kind, torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind), cache_enabled=False)


def without_autocast(device: torch.device) -> torch.autocast:
    """Disable autocast for a backward pass, which takes the precision of each operation from the forward pass."""
    return torch.autocast(device.type, enabled=False)
