"""Compute the FLOPs of a forward pass from the sizes of a model.

Only matrix products count. Normalisations, activations and position codes are a few percent of the operations.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from models.config import OVERLAP_KERNEL, EncoderConfig, TrunkConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class Flops:
    """FLOPs of the parts of a forward pass; a multiplication and its addition count as two.

    Attributes:
        stem: Patches to tokens.
        local: Projections and feed-forward layers of the local layers.
        local_attention: Attention of the local layers, linear in the number of tokens.
        cross: All of `read` and `write`.
        mix: Projections and feed-forward layers of the global layers.
        mix_attention: Attention of the global layers: the only part that is quadratic in the number of groups.
    """

    stem: int
    local: int
    local_attention: int
    cross: int
    mix: int
    mix_attention: int

    @property
    def total(self) -> int:
        """FLOPs of all parts together."""
        return self.stem + self.local + self.local_attention + self.cross + self.mix + self.mix_attention

    @property
    def quadratic_fraction(self) -> float:
        """Fraction of the total that `mix_attention` takes."""
        return self.mix_attention / self.total


def trunk_flops(config: TrunkConfig, groups: int, stem: int = 0) -> Flops:
    """Return the FLOPs of a trunk without conditioning tokens for one image.

    Args:
        config: Config of any model.
        groups: Number of groups of the image.
        stem: FLOPs of the stem.
    """
    tokens, latents = groups * config.tokens, groups * config.latents
    token_inner = config.token_heads * (config.token_width // config.token_heads)
    latent_inner = config.latent_heads * (config.latent_width // config.latent_heads)
    local = sum(local for local, _ in config.segments)
    mixing = sum(mixing for _, mixing in config.segments)
    attended = 4 * config.tokens * token_inner if config.local_attention else 0
    return Flops(
        stem=stem,
        local=local * tokens * _layer(config.token_width, token_inner if config.local_attention else 0, config),
        local_attention=local * tokens * attended,
        cross=_cross(config, tokens, latents),
        mix=mixing * latents * _layer(config.latent_width, latent_inner, config),
        mix_attention=mixing * latents * 4 * latents * latent_inner,
    )


def encoder_flops(config: EncoderConfig, groups: int) -> Flops:
    """Return the FLOPs of an encoder without side tokens for one image of `groups` groups."""
    return trunk_flops(config, groups, groups * config.tokens * _stem(config))


def _layer(width: int, inner: int, config: TrunkConfig) -> int:
    """Return the FLOPs per position of the projections and the feed-forward part of one layer."""
    return 8 * width * inner + 4 * config.mlp_ratio * width * width


def _cross(config: TrunkConfig, tokens: int, latents: int) -> int:
    """Return the FLOPs of all `read` and `write`: both project both sides and attend within a group."""
    inner, c, d = config.cross_heads * config.cross_head_width, config.token_width, config.latent_width
    reads = sum(mixing > 0 for _, mixing in config.segments)
    writes = sum(mixing > 0 for _, mixing in config.segments[:-1])
    attended = 4 * tokens * config.latents * inner
    mlp = 4 * config.mlp_ratio if config.cross_mlp else 0
    # Each side is projected twice: to queries and from their results, or to keys and values.
    each = 4 * inner * (tokens * c + latents * d) + attended
    return (reads + writes) * each + mlp * (reads * latents * d * d + writes * tokens * c * c)


def _stem(config: EncoderConfig) -> int:
    """Return the FLOPs of the stem per patch."""
    if config.stem == "linear":
        return 2 * config.values * config.token_width
    if config.stem == "overlap":
        pairs = list(pairwise((config.channels, *config.overlap_widths)))
        places = (config.patch**2 >> 2 * (number + 1) for number in range(len(pairs)))
        convolutions = sum(OVERLAP_KERNEL**2 * a * b * count for (a, b), count in zip(pairs, places, strict=True))
        return 2 * (convolutions + pairs[-1][1] * config.token_width)
    halves, quarters, (first, second) = (config.patch // 2) ** 2, (config.patch // 4) ** 2, config.conv_widths
    return 2 * (halves * 4 * config.channels * first + quarters * second * (4 * first + config.token_width))
