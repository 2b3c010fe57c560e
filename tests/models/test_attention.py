"""Attention by matrix products, for inference in bf16 on a CPU: the same as PyTorch's, and at no more operations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from models import attention
from models.attention import dot_product_attention
from models.build import build
from models.config import EncoderConfig
from models.cost import encoder_flops
from models.groups import Groups
from models.precast_weights import precast_weights

CONFIG = EncoderConfig.from_dict(
    {
        "plan": "(2)3(1)2", "tokens": 16, "latents": 4, "token_width": 48, "latent_width": 64, "token_heads": 3,
        "latent_heads": 4, "patch": 8, "channels": 3,
    }
)  # fmt: skip


class Operations(TorchDispatchMode):
    """Counts the calls of operations, the FLOPs of products, and the casts of given tensors."""

    def __init__(self, weights: Iterable[Tensor] = ()) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()
        self.flops = self.casts = 0
        self.weights = {weight.data_ptr() for weight in weights}

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function.name().split("::")[1].split(".")[0]
        result = function(*args, **(kwargs or {}))
        self.calls[name] += 1
        if name == "linear":
            self.flops += 2 * args[0].numel() * args[1].shape[0]
        elif name in ("mm", "bmm", "addmm", "baddbmm"):
            self.flops += 2 * result.numel() * args[-2 if name in ("mm", "bmm") else 1].shape[-1]
        elif name in ("_to_copy", "to") and isinstance(args[0], Tensor):
            self.casts += args[0].data_ptr() in self.weights
        return result


def tensors(t: int, u: int, heads: int = 3, batch: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values as a fused projection gives them: views with the heads inside."""
    generator = torch.Generator().manual_seed(t + u)
    query, key, value = (torch.randn(batch, n, heads, 32, generator=generator).bfloat16() for n in (t, u, u))
    return query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2)


def exact(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """By the definition, in float64."""
    scores = query.double() @ key.double().mT * query.shape[-1] ** -0.5
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    return scores.softmax(dim=-1) @ value.double()


@pytest.mark.parametrize("scores", [1 << 21, 700, 1], ids=["at once", "in pieces", "a row at a time"])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("t", "u"), [(64, 64), (5, 40), (40, 5), (1, 1)])
def test_products_are_attention(t: int, u: int, masked: bool, scores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "SCORES", scores)
    query, key, value = tensors(t, u)
    mask = torch.arange(u).remainder(3).ne(1).expand(2, 1, 1, u) if masked else None
    with torch.inference_mode(), Operations() as counted:
        found = dot_product_attention(query, key, value, mask)
    assert counted.calls["baddbmm"] > 0
    wanted = exact(query, key, value, mask)
    assert (found.double() - wanted).norm() < 0.01 * wanted.norm()


def test_what_is_hidden_has_no_influence() -> None:
    query, key, value = tensors(16, 24)
    mask = torch.ones(2, 1, 1, 24, dtype=torch.bool)
    mask[:, :, :, 20:] = False
    with torch.inference_mode():
        before = dot_product_attention(query, key, value, mask)
        key[:, :, 20:], value[:, :, 20:] = 1e4, 1e4
        assert torch.equal(dot_product_attention(query, key, value, mask), before)


def test_everything_else_is_left_to_pytorch() -> None:
    query, key, value = tensors(16, 16)
    rows = torch.ones(16, 16, dtype=torch.bool).tril()[None, None]
    with Operations() as counted:
        dot_product_attention(query, key, value)
        with torch.inference_mode():
            dot_product_attention(query, key, value, rows)
            dot_product_attention(query, key, value, causal=True)
            dot_product_attention(query.float(), key.float(), value.float())
    assert counted.calls["baddbmm"] == 0


def encode(model: torch.nn.Module) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    patches = torch.randn(6, 16, CONFIG.values, generator=generator)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        latents: Tensor = model(patches, Groups.of_grid(1, 2, 3)).latents
    return latents


def test_weights_cast_ahead_give_the_same_to_the_bit() -> None:
    torch.manual_seed(0)
    model = build(CONFIG).eval().requires_grad_(False)
    expected = encode(model)
    precast_weights(model, torch.bfloat16)
    found = encode(model)
    assert found.dtype is torch.float32
    assert torch.equal(found, expected)


def test_a_pass_costs_what_is_stated_and_casts_no_weight_of_a_layer() -> None:
    model = build(CONFIG).eval().requires_grad_(False)
    with Operations(p for p in model.trunk.parameters() if p.ndim == 2) as counted:
        encode(model)
    assert counted.casts > 0
    precast_weights(model, torch.bfloat16)
    with Operations(model.trunk.parameters()) as counted:
        encode(model)
    assert counted.casts == 0
    assert counted.calls["baddbmm"] > 0
    assert counted.flops == encoder_flops(CONFIG, groups=6).total
