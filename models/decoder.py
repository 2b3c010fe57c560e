"""Predict next-token logits with FIT, causal over tokens and groups (FIT, section 3.2).

The input is a sequence of token ids; the caller turns images into sequences.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from models.config import DecoderConfig
from models.groups import Groups
from models.layers import layer_norm
from models.positions import LatentStart, TokenPositions
from models.real_tokens import WHOLE_GROUPS, RealTokens
from models.trunk import Trunk


class FITDecoder(nn.Module):
    """An autoregressive decoder: it maps token ids, shifted by one, to the logits of the token at each position."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config, self.tokens, self.vocabulary = config, config.tokens, config.vocabulary
        self.embedding = _embedding(config.vocabulary + config.starts, config.token_width)
        self.out_embedding = None if config.shared_embedding else _embedding(config.vocabulary, config.token_width)
        self.positions = TokenPositions(config)
        self.start = LatentStart(config)
        self.classes = _embedding(config.classes, config.latent_width) if config.classes else None
        self.trunk = Trunk(config, config.latent_width if config.classes else None)
        self.token_norm = layer_norm(config.token_width)
        self.bias = nn.Parameter(torch.empty(config.vocabulary)) if config.output_bias else None

    def forward(self, ids: Tensor, groups: Groups, labels: Tensor | None = None) -> Tensor:
        """Return the logits of all positions at once (teacher forcing).

        The logits at a position depend on the ids at that position and before it, in its group and in earlier groups.
        From the second group on they also depend on the label; the first group gets the class only by its start id.

        Args:
            ids: [g n] int64. Each position holds the id of the token before it; the first position of an image holds a
                start id, or 0.
            groups: Groups of all images, those of each image in the order of its sequence.
            labels: [b] int64, in [0, classes), for a config with classes; None otherwise.

        Returns:
            Logits [g n vocabulary].

        Raises:
            ValueError: The shape of `ids` does not fit the groups, or labels are missing or unexpected.
        """
        groups.check_values(ids, self.tokens)
        real = groups.real_tokens().to(ids.device)
        tokens = self.embed(real.pack(ids), real)
        latents = self.start(groups, tokens)  # [g m d]
        tokens, _ = self.trunk(tokens, latents, groups, real, self.context(labels))
        return real.unpack(self.predict(tokens))

    def context(self, labels: Tensor | None) -> Tensor | None:
        """Embed the labels [b] int64 as conditioning tokens [b 1 d]; None without classes.

        Raises:
            ValueError: The model has classes and there are no labels, or the other way round.
        """
        if (labels is None) != (self.classes is None):
            raise ValueError(f"a decoder with {self.config.classes} classes cannot use labels {labels}")
        return None if labels is None or self.classes is None else self.classes(labels)[:, None]

    def embed(self, ids: Tensor, real: RealTokens = WHOLE_GROUPS) -> Tensor:
        """Embed the ids of real tokens, packed from [g n] int64, as tokens, packed from [g n c]."""
        tokens = self.embedding(ids)
        return cast(Tensor, tokens + self.positions(tokens, real))

    def predict(self, tokens: Tensor) -> Tensor:
        """Map tokens after the last segment [... c] to logits [... vocabulary]."""
        table = self.embedding if self.out_embedding is None else self.out_embedding
        logits: Tensor = self.token_norm(tokens) @ table.weight[: self.vocabulary].T
        return logits if self.bias is None else logits + self.bias


def _embedding(count: int, width: int) -> nn.Embedding:
    """Return an embedding whose weights are not drawn yet.

    PyTorch would draw them itself, on the meta device by Python code that imports its compiler: 70 MiB, and a second.
    """
    made: nn.Embedding = nn.Embedding.from_pretrained(  # type: ignore[no-untyped-call]
        torch.empty(count, width), freeze=False
    )
    return made
