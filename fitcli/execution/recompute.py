"""What the backward pass keeps and what it computes again; and precision in both directions."""

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
"""Of the global layers the only part that is quadratic in the size of the image, and its results are small."""

PRODUCTS = [torch.ops.aten.mm.default, torch.ops.aten.addmm.default, torch.ops.aten.bmm.default]
"""With attention nearly all of the time, and little more than half of what autograd saves."""


def recomputing(function: Callable[..., T], *arguments: Any) -> T:
    """Call a function and keep its arguments alone; the backward pass calls it again."""
    # Nothing here draws random numbers, so that their state need not be kept.
    result: T = checkpoint(function, *arguments, use_reentrant=False, preserve_rng_state=False)
    return result


def keeping(operations: list[Any], function: Callable[..., T], *arguments: Any) -> T:
    """Call a function and keep its arguments and what some operations give; the backward pass does the rest again.

    Not inside `recomputing`: what is kept there would stay for as long as without it. Layers that are compiled are not
    run so here: of a graph no operation can be selected.
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


def selective(function: Callable[..., T], *arguments: Any) -> T:
    """Call a function and keep matrix products and attention; norms, activations and casts are done again."""
    return keeping(PRODUCTS + ATTENTION, function, *arguments)


def global_call(plan: ExecutionPlan) -> Call:
    """How the layers of `mix` are called."""
    match plan.global_layers:
        case "keep":
            return direct
        case "selective":
            return selective
        case "attention":
            return partial(keeping, ATTENTION)
        case "checkpoint" | "rerun":
            return recomputing


def uncached_autocast(device: torch.device) -> torch.autocast:
    """The autocast that is on, if one is, without its cache of cast weights.

    A handful that found a weight in the cache would do other operations when it is replayed; and the gradients of a
    cached weight would add up over the handfuls in low precision.
    """
    kind = device.type
    return torch.autocast(kind, torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind), cache_enabled=False)


def without_autocast(device: torch.device) -> torch.autocast:
    """For backward passes: they take the precision of each operation from the forward pass."""
    return torch.autocast(device.type, enabled=False)
