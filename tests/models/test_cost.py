"""Test the computed FLOPs of a forward pass against a count of its operations."""

from __future__ import annotations

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from models.build import build
from models.config import EncoderConfig
from models.cost import encoder_flops
from models.groups import Groups


@pytest.mark.parametrize(
    "changes",
    [{}, {"stem": "conv"}, {"plan": "(1)2(3)"}, {"cross_mlp": True, "mlp_ratio": 2}, {"local_attention": False}],
    ids=str,
)
def test_the_arithmetic_counts_what_the_model_does(changes: dict[str, object]) -> None:
    settings: dict[str, object] = {
        "plan": "(2)3(1)2", "tokens": 16, "latents": 4, "token_width": 48, "latent_width": 64, "token_heads": 3,
        "latent_heads": 4, "patch": 8, "channels": 3,
    }  # fmt: skip
    config = EncoderConfig.from_dict(settings | changes)
    model, groups = build(config), Groups.of_grid(1, 2, 3)
    # The counter misses the matrix products inside the fused kernel of the CPU.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.randn(6, 16, config.values), groups)
    assert encoder_flops(config, groups=6).total == counter.get_total_flops()
