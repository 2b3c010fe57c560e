"""Test attention by matrix products, which inference in bf16 on a CPU uses, against the definition in float64."""

from __future__ import annotations

import pytest
import torch
from support.operations import Operations
from torch import Tensor

from models import attention
from models.attention import dot_product_attention


def tensors(t: int, u: int, heads: int = 3, batch: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    """Return queries, keys and values with the strides that a fused projection gives them: heads inside positions."""
    generator = torch.Generator().manual_seed(t + u)
    query, key, value = (torch.randn(batch, n, heads, 32, generator=generator).bfloat16() for n in (t, u, u))
    return query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2)


def exact(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Compute attention by its definition in float64."""
    scores = query.double() @ key.double().mT * query.shape[-1] ** -0.5
    return scores.softmax(dim=-1) @ value.double()


@pytest.mark.parametrize("scores", [1 << 21, 700, 1], ids=["at once", "in pieces", "a row at a time"])
@pytest.mark.parametrize(("t", "u"), [(64, 64), (5, 40), (40, 5), (1, 2)])
def test_products_are_attention(t: int, u: int, scores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "SCORES", scores)
    query, key, value = tensors(t, u)
    with torch.inference_mode(), Operations() as counted:
        result = dot_product_attention(query, key, value)
    assert counted.calls["baddbmm"] > 0
    expected = exact(query, key, value)
    assert (result.double() - expected).norm() < 0.01 * expected.norm()


@pytest.mark.parametrize("t", [1, 7])
def test_a_single_key_has_the_weight_one(t: int) -> None:
    query, key, value = (values.double().requires_grad_() for values in tensors(t, 1))
    result = dot_product_attention(query, key, value)
    assert torch.equal(result, value.expand(result.shape))
    gradients = torch.autograd.grad(result.square().sum(), (query, key, value), allow_unused=True)
    assert gradients[:2] == (None, None)
    assert torch.equal(gradients[2], 2 * t * value)


def test_all_other_cases_use_the_kernel_of_pytorch() -> None:
    query, key, value = tensors(16, 16)
    rows = torch.ones(16, 16, dtype=torch.bool).tril()[None, None]
    with Operations() as counted:
        dot_product_attention(query, key, value)
        with torch.inference_mode():
            dot_product_attention(query, key, value, rows)
            dot_product_attention(query, key, value, causal=True)
            dot_product_attention(query.float(), key.float(), value.float())
    assert counted.calls["baddbmm"] == 0
