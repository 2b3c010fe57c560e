"""Predict from noisy patches with FIT, conditioned on noise level, class and latents (FIT, section 3.1; RIN).

The input is a noise level; the caller has the schedule and decides what the prediction is: noise, data or velocity.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.compilable import Region
from models.config import DenoiserConfig
from models.encoder import Features
from models.groups import Groups
from models.layers import FeedForward, layer_norm
from models.output_head import OverlapHead
from models.positions import REFERENCE_RANGE, LatentStart, TokenPositions, sincos
from models.real_tokens import WHOLE_GROUPS, RealTokens
from models.stem import LinearStem
from models.trunk import Trunk


class NoiseLevelEmbedding(nn.Module):
    """Embeds the noise level of an image, and f optional features, as one token: [b 1+f] -> [b width]."""

    def __init__(self, width: int, features: int) -> None:
        super().__init__()
        self.code_width = width // 4
        self.up = nn.Linear(self.code_width, width)
        self.out = nn.Linear(width + features, width)

    def forward(self, level: Tensor) -> Tensor:
        """Embed `level`: column 0 is the noise level gamma in [0, 1], the others are features, used unchanged."""
        code = sincos(level[:, 0].float() * REFERENCE_RANGE, self.code_width)
        code = (code - code.mean(-1, keepdim=True)) / code.std(-1, correction=0, keepdim=True)
        hidden = F.silu(self.up(code.to(level.dtype)))
        embedded: Tensor = self.out(torch.cat([hidden, level[:, 1:]], dim=-1))
        return embedded


class SelfCondition(Region):
    """Maps the latents of an earlier prediction to an addend of the first latents (RIN, section 3.3)."""

    def __init__(self, width: int, ratio: int) -> None:
        super().__init__()
        self.project = FeedForward(width, ratio)
        self.norm = layer_norm(width)

    def compute(self, previous: Tensor) -> Tensor:
        """Map latents [g m d] to an addend [g m d]."""
        added: Tensor = self.norm(self.project(previous))
        return added


class FITDenoiser(nn.Module):
    """A denoiser: it maps noisy patches and their noise level to a prediction per patch."""

    def __init__(self, config: DenoiserConfig) -> None:
        super().__init__()
        self.config, self.tokens = config, config.tokens
        width = config.latent_width
        self.stem = LinearStem(config.values, config.token_width)
        self.positions = TokenPositions(config)
        self.start = LatentStart(config)
        self.self_condition = SelfCondition(width, config.mlp_ratio) if config.self_condition else None
        self.time = NoiseLevelEmbedding(config.time_width, config.time_features)
        self.condition = None if config.condition_width is None else nn.Linear(config.condition_width, width)
        self.trunk = Trunk(config, config.time_width)
        self.token_norm = layer_norm(config.token_width)
        self.out: nn.Linear | OverlapHead
        if config.output_patch is None:
            self.out = nn.Linear(config.token_width, config.out_values)
        else:
            self.out = OverlapHead(config, config.output_patch)

    def forward(
        self,
        patches: Tensor,
        groups: Groups,
        level: Tensor,
        condition: Tensor | None = None,
        previous: Tensor | None = None,
    ) -> Features:
        """Predict from noisy patches.

        Args:
            patches: [g n p] float.
            groups: Groups of the patches.
            level: Noise levels gamma in [0, 1]: [b], or [b 1+f] with `time_features`.
            condition: Conditioning tokens [b s width]; None for an unconditional prediction.
            previous: Latents [g m d] of an earlier prediction; None stands for zeros.

        Returns:
            The prediction [g n out_values], zeros for padding, and the latents [g m d], which are not normalised.

        Raises:
            ValueError: The shape of `patches` does not fit the groups.
        """
        groups.check_values(patches, self.tokens)
        real = groups.real_tokens().to(patches.device)
        tokens = self.embed(real.pack(patches), real)
        latents = self.begin(groups, tokens, previous)  # [g m d]
        tokens, latents = self.trunk(tokens, latents, groups, real, self.context(level, condition))
        return Features(real.unpack(self.predict(tokens, real)), latents)

    def embed(self, patches: Tensor, real: RealTokens = WHOLE_GROUPS) -> Tensor:
        """Embed real patches, packed from [g n p], as tokens, packed from [g n c]."""
        tokens = self.stem(patches)
        return cast(Tensor, tokens + self.positions(tokens, real))

    def begin(self, groups: Groups, like: Tensor, previous: Tensor | None) -> Tensor:
        """Return the latents before the first segment [g m d], in the dtype and on the device of `like`."""
        latents: Tensor = self.start(groups, like)
        if self.self_condition is not None:
            latents = latents + self.self_condition(torch.zeros_like(latents) if previous is None else previous)
        return latents

    def context(self, level: Tensor, condition: Tensor | None) -> Tensor:
        """Return the conditioning tokens [b 1+s d]: the time token, then those of `condition`."""
        context: Tensor = self.time(level[:, None] if level.ndim == 1 else level)[:, None]
        if condition is None:
            return context
        projected = condition if self.condition is None else self.condition(condition)
        return torch.cat([context, projected], dim=1)

    def predict(self, tokens: Tensor, real: RealTokens) -> Tensor:
        """Map tokens after the last segment, packed from [g n c], to predictions, packed from [g n out_values]."""
        tokens = self.token_norm(tokens)
        return self.out(tokens, real) if isinstance(self.out, OverlapHead) else cast(Tensor, self.out(tokens))
