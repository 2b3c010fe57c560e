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
        self.config, self.tokens, self.vocabulary = config, config.tokens, config.vocabulary
        self.embedding = nn.Embedding(config.vocabulary + config.starts, config.token_width)
        self.out_embedding = None if config.shared_embedding else nn.Embedding(config.vocabulary, config.token_width)
        self.positions = TokenPositions(config)
        self.start = LatentStart(config)
        self.classes = nn.Embedding(config.classes, config.latent_width) if config.classes else None
        self.trunk = Trunk(config, config.latent_width if config.classes else None)
        self.token_norm = layer_norm(config.token_width)
        self.bias = nn.Parameter(torch.empty(config.vocabulary)) if config.output_bias else None

    def forward(self, ids: Tensor, groups: Groups, labels: Tensor | None = None) -> Tensor:
        """The logits of every place, all ids before it being known.

        The logits at a place depend on the ids at that place and before it, in its group and in earlier groups, and
        from the second group on on the class of the image; the first group knows of it by its start id alone.

        Args:
            ids: [g n] int64, each id the one before its place; in front of an image the id of a start, or 0.
            groups: Those of each image in the order of its sequence.
            labels: [b] int64, in [0, classes), where the config has classes.

        Returns:
            [g n vocabulary].
        """
        groups.check_values(ids, self.tokens)
        tokens = self.embed(ids)  # [g n c]
        latents = self.start(groups, tokens)  # [g m d]
        tokens, _ = self.trunk(tokens, latents, groups, self.context(labels))
        return self.predict(tokens)

    def context(self, labels: Tensor | None) -> Tensor | None:
        """What all latents of an image attend to: its class. [b] int64 -> [b 1 d]; None without classes.

        Raises:
            ValueError: Labels without classes, or the other way round.
        """
        if (labels is None) != (self.classes is None):
            raise ValueError(f"a decoder of {self.config.classes} classes cannot use labels {labels}")
        return None if labels is None or self.classes is None else self.classes(labels)[:, None]

    def embed(self, ids: Tensor) -> Tensor:
        """[g n] int64 -> tokens [g n c]."""
        tokens = self.embedding(ids)
        return cast(Tensor, tokens + self.positions(tokens))

    def predict(self, tokens: Tensor) -> Tensor:
        """The tokens after the last segment [g n c] -> logits [g n vocabulary]."""
        table = self.embedding if self.out_embedding is None else self.out_embedding
        logits: Tensor = self.token_norm(tokens) @ table.weight[: self.vocabulary].T
        return logits if self.bias is None else logits + self.bias
