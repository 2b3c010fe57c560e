"""Every `Call` of a layer gives the same gradients, and its backward pass recomputes what was not kept."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from support.operations import Operations
from torch import Tensor

from fitcli.execution.recompute import (
    ATTENTION,
    recompute,
    recompute_cheap,
    recompute_except,
    uncached_autocast,
    without_autocast,
)
from models.layers import Call, SelfAttentionLayer, direct

CPU = torch.device("cpu")
CALLS: dict[str, Call] = {
    "direct": direct,
    "recompute": recompute,
    "cheap": recompute_cheap,
    "but for attention": lambda layer, *arguments: recompute_except(ATTENTION, layer, *arguments),
}


def backward(call: Call) -> tuple[list[Tensor], Counter[str]]:
    """Return the gradients of a layer that is run by `call`, and the operations of its backward pass."""
    torch.manual_seed(0)
    layer, x = SelfAttentionLayer(8, 2, 2), torch.randn(3, 5, 8, requires_grad=True)
    loss = call(layer, x).square().sum()
    with Operations() as operations:
        loss.backward()
    return [tensor.grad for tensor in (x, *layer.parameters()) if tensor.grad is not None], operations.calls


@pytest.mark.parametrize(
    ("name", "norms", "attentions", "products"),
    [("direct", 0, 0, 0), ("recompute", 2, 1, 3), ("cheap", 2, 0, 0), ("but for attention", 2, 0, 3)],
)
def test_the_backward_pass_runs_again_what_was_not_kept(name: str, norms: int, attentions: int, products: int) -> None:
    """A layer has two norms, one attention and four products. No gradient depends on the result of the last product."""
    expected, direct_counts = backward(direct)
    gradients, counts = backward(CALLS[name])
    assert len(gradients) == len(expected)
    assert all(map(torch.equal, gradients, expected))
    assert counts["native_layer_norm"] - direct_counts["native_layer_norm"] == norms
    attention = "_scaled_dot_product_flash_attention_for_cpu"
    assert counts[attention] - direct_counts[attention] == attentions
    assert counts["addmm"] - direct_counts["addmm"] == products


def test_autocast_stays_on_without_its_cache() -> None:
    with torch.autocast("cpu", torch.bfloat16), uncached_autocast(CPU):
        assert torch.is_autocast_enabled("cpu")
        assert torch.get_autocast_dtype("cpu") == torch.bfloat16
        assert not torch.is_autocast_cache_enabled()
        with without_autocast(CPU):
            assert not torch.is_autocast_enabled("cpu")
    with uncached_autocast(CPU):
        assert not torch.is_autocast_enabled("cpu")
