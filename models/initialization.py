"""Draw the initial weights of every model.

They follow the reference where it matters: Glorot uniform projections, zero biases, truncated normal tables, and latent
self-conditioning that starts without effect. In attention, the fans are those of kernels [in, heads, width].

These fans count the input once per head. The output of attention then has about a tenth of the variance of its input,
and the attention weights are nearly uniform. With `attention_start="unit"` every projection of attention starts with
the variance 1 / fan_in instead (LeCun et al. 1998, "Efficient BackProp", section 4.6): a small model that looks for
strokes learns about twice as fast.
"""

from __future__ import annotations

import math

import torch
from einops import rearrange
from torch import Tensor, nn

from models.config import TrunkConfig
from models.decoder import FITDecoder
from models.denoiser import SelfCondition
from models.heads import AddedHead
from models.layers import CrossAttention, SelfAttention
from models.positions import LatentStart, TokenPositions
from models.stem import ConvStem

TABLE_STD = 0.02
"""Standard deviation of position tables, embeddings and output biases, whose values are cut off at twice this."""

STEM_GAIN = 1.5
"""Gain of the convolutions of a stem: no normalisation follows that restores the variance that activations remove."""


CONTRAST_FILTERS = 14
"""Least number of first filters of a stem that see contrasts alone at the start, if it has as many. With 8 of the 16 of
the preset "debug", marks were learnt more slowly; with 24 of the 48 of "tiny", colours were learnt."""


@torch.no_grad()
def initialize(model: nn.Module, generator: torch.Generator | None = None) -> None:
    """Fill every parameter of a model in place.

    Args:
        model: Any model of this package, not on the meta device.
        generator: Random generator on the device of the model; None for the global one.
    """
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight, generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.LayerNorm):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            _table(module.weight, generator)
    # These modules overwrite some weights of their submodules, so they come second.
    attention = _unit_attention if _wants_unit_attention(model) else _attention
    for module in model.modules():
        if isinstance(module, SelfAttention):
            attention(module.heads, module.query_key_value, module.out, generator)
        elif isinstance(module, CrossAttention):
            attention(module.heads, module.query, module.out, generator)
            attention(module.heads, module.key_value, module.out, generator)
        elif isinstance(module, LatentStart) and module.kind == "coordinates":
            _latent_vectors(module.table, generator)
        elif isinstance(module, TokenPositions | LatentStart) and module.table is not None:
            _table(module.table, generator)
        elif isinstance(module, ConvStem):
            _contrast_filters(module, generator)
        elif isinstance(module, SelfCondition):
            nn.init.zeros_(module.norm.weight)
        elif isinstance(module, FITDecoder) and module.bias is not None:
            _table(module.bias, generator)
    for module in model.modules():
        if isinstance(module, AddedHead):
            # Its own constructor decides, whatever its submodules are.
            module.start(generator)


def _attention(heads: int, projection: nn.Linear, out: nn.Linear, generator: torch.Generator | None) -> None:
    """Draw Glorot uniform weights; as in the reference, the fans of a kernel [a, b, c] are a*b and a*c."""
    head_width = out.in_features // heads
    _uniform(projection.weight, math.sqrt(6 / (projection.in_features * (heads + head_width))), generator)
    _uniform(out.weight, math.sqrt(6 / (heads * (head_width + out.out_features))), generator)


def _wants_unit_attention(model: nn.Module) -> bool:
    config = getattr(model, "config", None)
    return isinstance(config, TrunkConfig) and config.attention_start == "unit"


def _unit_attention(heads: int, projection: nn.Linear, out: nn.Linear, generator: torch.Generator | None) -> None:
    """Draw normal weights with the variance 1 / fan_in."""
    for linear in (projection, out):
        nn.init.normal_(linear.weight, std=linear.in_features**-0.5, generator=generator)


def _uniform(weight: Tensor, limit: float, generator: torch.Generator | None) -> None:
    nn.init.uniform_(weight, -limit, limit, generator=generator)


def _contrast_filters(stem: ConvStem, generator: torch.Generator | None) -> None:
    """Draw first filters, many of which sum to zero: a small mark stands out by its contrast.

    A field stands out by its colour. If all filters summed to zero, a new model would be blind to plain colours, so
    some stay as they are drawn.
    """
    for convolution in (stem.first, stem.second):
        nn.init.xavier_uniform_(convolution.weight, gain=STEM_GAIN, generator=generator)
    count = len(stem.first.weight)
    plain = min(count // 2, max(count - CONTRAST_FILTERS, 1))
    filters = rearrange(stem.first.weight, "f (t a) -> f t a", a=stem.channels)[plain:]
    filters -= filters.mean(dim=1, keepdim=True)


def _latent_vectors(table: Tensor | None, generator: torch.Generator | None) -> None:
    """Draw vectors as large as the sinusoidal code that they are added to; else the latents of a group start alike."""
    if table is not None:
        nn.init.normal_(table, std=math.sqrt(0.5), generator=generator)


def _table(weight: Tensor, generator: torch.Generator | None) -> None:
    nn.init.trunc_normal_(weight, std=TABLE_STD, a=-2 * TABLE_STD, b=2 * TABLE_STD, generator=generator)
