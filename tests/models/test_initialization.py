"""Test that initial weights have the distributions of the reference.

The limits were measured in the published implementation for token width 96 (4 heads) and latent width 128 (8 heads).
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from support.batches import decoder_config, denoiser_config
from torch import Tensor

from models.build import build
from models.encoder import FITClassifier
from models.initialization import initialize
from models.layers import CrossAttention, SelfAttention
from models.presets import classifier_preset

WIDE: dict[str, Any] = {
    "plan": "(1)1(1)",
    "tokens": 16,
    "latents": 4,
    "token_width": 96,
    "latent_width": 128,
    "token_heads": 4,
    "latent_heads": 8,
    "mlp_ratio": 4,
    "token_positions": "learned",
    "latent_positions": "learned",
    "groups": 16,
}
TABLE_STD = 0.0176
"""Standard deviation of a normal distribution with standard deviation 0.02 that is truncated at 0.04."""

LIMITS = {
    "stem.project.weight": 0.2041,
    "trunk.segments.0.local.layers.0.attention.query_key_value.weight": 0.04725,
    "trunk.segments.0.local.layers.0.attention.out.weight": 0.1118,
    "trunk.segments.0.local.layers.0.feed_forward.up.weight": 0.1118,
    "trunk.segments.0.local.layers.0.feed_forward.down.weight": 0.1118,
    "trunk.segments.0.read.attention.query.weight": 0.0409,
    "trunk.segments.0.read.attention.key_value.weight": 0.04725,
    "trunk.segments.0.read.attention.out.weight": 0.09934,
    "trunk.segments.0.read.feed_forward.up.weight": 0.09682,
    "trunk.segments.0.mix.condition.attention.query.weight": 0.04419,
    "trunk.segments.0.mix.condition.attention.key_value.weight": 0.04419,
    "trunk.segments.0.mix.stack.layers.0.attention.query_key_value.weight": 0.04419,
    "trunk.segments.0.mix.stack.layers.0.attention.out.weight": 0.07217,
    "trunk.segments.0.mix.stack.layers.0.feed_forward.up.weight": 0.09682,
    "trunk.segments.0.write.attention.query.weight": 0.04725,
    "trunk.segments.0.write.attention.key_value.weight": 0.04091,
    "trunk.segments.0.write.attention.out.weight": 0.1118,
    "time.up.weight": 0.19365,
    "time.out.weight": 0.15309,
    "condition.weight": 0.1622,
    "self_condition.project.up.weight": 0.09682,
    "out.weight": 0.2041,
}
"""Largest magnitude of the uniform weights in the reference."""


@pytest.fixture(scope="module")
def denoiser() -> dict[str, Tensor]:
    config = denoiser_config(**WIDE, values=48, out_values=48, condition_width=100, cross_mlp=True)
    return build(config).state_dict()


@pytest.mark.parametrize("name", LIMITS)
def test_projections_are_uniform_within_the_limit_of_the_reference(name: str, denoiser: dict[str, Tensor]) -> None:
    weight, limit = denoiser[name], LIMITS[name]
    assert weight.abs().max().item() == pytest.approx(limit, rel=2e-3)
    assert weight.std().item() == pytest.approx(limit / math.sqrt(3), rel=0.02)
    assert abs(weight.mean().item()) < 0.03 * limit


def test_biases_are_zero_and_scales_one(denoiser: dict[str, Tensor]) -> None:
    for name, value in denoiser.items():
        if name.endswith("bias"):
            assert (value == 0).all(), name
        elif "norm" in name and not name.startswith("self_condition.norm"):
            assert (value == 1).all(), name


def test_self_conditioning_starts_without_effect(denoiser: dict[str, Tensor]) -> None:
    assert (denoiser["self_condition.norm.weight"] == 0).all()
    assert (denoiser["self_condition.project.norm.weight"] == 1).all()


def test_tables_are_truncated_normal() -> None:
    state = build(decoder_config(**WIDE | {"plan": "(1)1(1)"}, vocabulary=512, shared_embedding=False)).state_dict()
    for name in ("positions.table", "start.table", "embedding.weight", "out_embedding.weight", "bias"):
        table = state[name]
        assert 0.03 < table.abs().max().item() <= 0.04, name
        assert table.std().item() == pytest.approx(TABLE_STD, rel=0.1), name
    assert not torch.equal(state["embedding.weight"], state["out_embedding.weight"])


def test_attention_can_begin_with_unit_variance() -> None:
    """Only the weights of attention are normal with the variance 1 / fan_in."""
    config = denoiser_config(**WIDE)
    model, other = build(replace(config, attention_start="unit")), build(config)
    for module in model.modules():
        if isinstance(module, SelfAttention | CrossAttention):
            for name, weight in module.named_parameters():
                if name.endswith("weight"):
                    assert float(weight.detach().std()) == pytest.approx(weight.shape[1] ** -0.5, rel=0.05), name
    ups = [dict(m.named_parameters())["trunk.segments.0.local.layers.0.feed_forward.up.weight"] for m in (model, other)]
    assert float(ups[0].detach().abs().max()) == pytest.approx(float(ups[1].abs().max().detach()), rel=0.01)


@pytest.mark.walk
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("preset", ["debug", "nano", "tiny", "small"])
def test_a_new_stem_sees_plain_colours_as_well_as_contrasts(preset: str, channels: int) -> None:
    config = classifier_preset(preset, classes=2, channels=channels)
    model = FITClassifier(config)
    initialize(model, torch.Generator().manual_seed(0))
    random = torch.Generator().manual_seed(1)
    contrasts = torch.randn(8, config.tokens, config.patch**2 * channels, generator=random)
    colors = torch.randn(8, config.tokens, channels, generator=random).repeat(1, 1, config.patch**2)
    stem = model.encoder.embed.stem
    with torch.no_grad():
        deviations = [stem(patches).std(dim=(0, 1)).mean() for patches in (contrasts, colors)]
    assert 0.25 < deviations[1] / deviations[0] < 4
