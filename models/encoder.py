"""Encode and classify images with FIT (FIT, section 3.1).

The input is patches and their groups; the caller cuts images into patches.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from models.config import ClassifierConfig, EncoderConfig
from models.groups import Groups
from models.heads import build_head
from models.layers import layer_norm
from models.pooling import Pooled
from models.positions import LatentStart, TokenPositions
from models.real_tokens import WHOLE_GROUPS, RealTokens
from models.stem import LinearStem, build_stem
from models.trunk import Trunk


class Features(NamedTuple):
    """Output of an encoder: tokens [g n c] and latents [g m d], both normalised."""

    tokens: Tensor
    latents: Tensor


class PatchEmbedding(nn.Module):
    """Embeds patches as tokens: the stem, plus the position code. Side tokens, if there are any, come first."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.stem = build_stem(config)
        self.side_stem = None if config.side_values is None else LinearStem(config.side_values, config.token_width)
        self.positions = TokenPositions(config)

    def forward(self, patches: Tensor, real: RealTokens = WHOLE_GROUPS, side: Tensor | None = None) -> Tensor:
        """Embed real patches, packed from [g n p], and side tokens [g s values] as tokens, packed from [g (s n) c]."""
        # In whole groups the pixels of padding are zeros, so that their content has no influence.
        whole = self.stem.whole_groups
        tokens: Tensor = real.pack(self.stem(real.unpack(patches))) if whole else self.stem(patches)
        tokens = tokens + self.positions(tokens, real)
        if self.side_stem is not None and side is not None:
            each = zip(real.select(self.side_stem(side)), real.split(tokens), strict=True)
            tokens = real.join([torch.cat(shape, dim=1) for shape in each])
        return tokens


class FITEncoder(nn.Module):
    """An encoder: it maps patches to features."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config, self.tokens = config, config.tokens
        self.embed = PatchEmbedding(config)
        self.start = LatentStart(config)
        self.trunk = Trunk(config)
        self.token_norm = layer_norm(config.token_width)
        self.latent_norm = layer_norm(config.latent_width)

    def forward(self, patches: Tensor, groups: Groups, side: Tensor | None = None) -> Features:
        """Encode the groups of a batch of images.

        Args:
            patches: [g n p] float, normalised.
            groups: Groups of the patches; where `groups.mask` is False, the patch is padding.
            side: Extra tokens of each group [g s values], for a config with `side_values`.

        Returns:
            Tokens [g (s n) c] and latents [g m d]. If the plan ends with global layers, the latents have seen the
            whole image; if it ends with local layers, the tokens have. The tokens of padding are zeros.

        Raises:
            ValueError: The shape of `patches` does not fit the groups.
        """
        groups.check_values(patches, self.tokens)
        real = groups.real_tokens().to(patches.device)
        tokens = self.embed(real.pack(patches), real, side)
        latents = self.start(groups, tokens)  # [g m d]
        real = with_side(groups, side).real_tokens().to(patches.device)
        tokens, latents = self.trunk(tokens, latents, groups, real)
        return Features(real.unpack(self.token_norm(tokens)), self.latent_norm(latents))


class FITClassifier(nn.Module):
    """An encoder and a head that pools its latents into class logits."""

    def __init__(self, config: ClassifierConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = FITEncoder(config)
        self.head = build_head(config)

    def forward(self, patches: Tensor, groups: Groups) -> Pooled:
        """Map patches [g n p] to logits [b k] and evidence [g m t], for t targets; see `Pooled`."""
        pooled: Pooled = self.head(self.encoder(patches, groups).latents, groups)
        return pooled


def with_side(groups: Groups, side: Tensor | None) -> Groups:
    """Extend the mask of the groups by side tokens [g s ...], which are never padding."""
    if side is None or groups.mask is None:
        return groups
    present = groups.mask.new_ones(side.shape[:2])
    return groups._replace(mask=torch.cat([present, groups.mask], dim=1))
