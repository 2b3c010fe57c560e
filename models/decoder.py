"""FIT as an autoregressive decoder: next-token logits, causal over tokens and groups (FIT, section 3.2).

Knows token ids in an order; how an image becomes such a sequence is the caller's business.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from models.config import DecoderConfig
from models.groups import Groups
from models.layers import layer_norm
from models.positions import LatentStart, TokenPositions
from models.trunk import Trunk


class FITDecoder(nn.Module):
    """Token ids, shifted by one, to the logits of what comes at each place."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocabulary, config.token_width)
        self.out_embedding = None if config.shared_embedding else nn.Embedding(config.vocabulary, config.token_width)
        self.positions = TokenPositions(config)
        self.start = LatentStart(config)
        self.trunk = Trunk(config)
        self.token_norm = layer_norm(config.token_width)
        self.bias = nn.Parameter(torch.empty(config.vocabulary)) if config.output_bias else None

    def forward(self, ids: Tensor, groups: Groups) -> Tensor:
        """[g n] int64, each id the one before its place -> logits [g n vocabulary].

        The logits at a place depend on the ids at that place and before it, in its group and in earlier groups.
        """
        groups.expect(ids, self.config.tokens)
        tokens = self.embed(ids)  # [g n c]
        latents = self.start(groups, tokens)  # [g m d]
        tokens, _ = self.trunk(tokens, latents, groups)
        return self.predict(tokens)

    def embed(self, ids: Tensor) -> Tensor:
        """[g n] int64 -> tokens [g n c]."""
        tokens = self.embedding(ids)
        return cast(Tensor, tokens + self.positions(tokens))

    def predict(self, tokens: Tensor) -> Tensor:
        """The tokens after the last segment [g n c] -> logits [g n vocabulary]."""
        table = self.embedding if self.out_embedding is None else self.out_embedding
        logits: Tensor = self.token_norm(tokens) @ table.weight.T
        return logits if self.bias is None else logits + self.bias
