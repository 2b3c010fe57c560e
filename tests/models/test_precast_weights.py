"""Test that weights cast in advance give the same output to the bit, without any cast during the pass."""

from __future__ import annotations

import torch
from support.operations import Operations
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from models.build import build
from models.config import EncoderConfig
from models.groups import Groups
from models.precast_weights import precast_weights

CONFIG = EncoderConfig.from_dict(
    {
        "plan": "(2)3(1)2", "tokens": 16, "latents": 4, "token_width": 48, "latent_width": 64, "token_heads": 3,
        "latent_heads": 4, "patch": 8, "channels": 3,
    }
)  # fmt: skip


def encode(model: torch.nn.Module) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    patches = torch.randn(6, 16, CONFIG.values, generator=generator)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        latents: Tensor = model(patches, Groups.of_grid(1, 2, 3)).latents
    return latents


def test_precast_weights_give_the_same_to_the_bit() -> None:
    torch.manual_seed(0)
    model = build(CONFIG).eval().requires_grad_(False)
    expected = encode(model)
    precast_weights(model, torch.bfloat16)
    result = encode(model)
    assert result.dtype is torch.float32
    assert torch.equal(result, expected)


def test_a_pass_casts_no_weight_of_a_layer_and_has_the_computed_flops() -> None:
    model = build(CONFIG).eval().requires_grad_(False)
    with Operations(p for p in model.trunk.parameters() if p.ndim == 2) as counted:
        encode(model)
    assert counted.casts > 0
    precast_weights(model, torch.bfloat16)
    with Operations(model.trunk.parameters()) as counted:
        encode(model)
    assert counted.casts == 0
    assert counted.calls["baddbmm"] > 0
    with FlopCounterMode(display=False) as exact, sdpa_kernel(SDPBackend.MATH):
        build(CONFIG)(torch.zeros(6, 16, CONFIG.values), Groups.of_grid(1, 2, 3))
    assert counted.flops == exact.get_total_flops()
