"""Draws the next token from logits, with random numbers that are addressed by seed, image and position."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from fitcli.noise import LARGEST, generator
from models.checks import ConfigError

STREAM = "next token"
"""Part of the address of the random numbers; other streams of the same seed are independent."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Draws:
    """How tokens are drawn.

    Attributes:
        temperature: Divisor of the logits. Values below 1 favour probable tokens; 0 always takes the most probable one.
        top_k: Draw from the k most probable tokens only; None for all.
        top_p: Draw from the smallest set of most probable tokens with this total probability, in (0, 1] (nucleus
            sampling, Holtzman et al. 2020, arXiv:1904.09751, section 3.1).
        seed: Seed of all draws, 0 ... 2**64 - 1.

    Raises:
        ConfigError: A value is impossible.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < math.inf:
            raise ConfigError(f"temperature must be 0 or more and finite, not {self.temperature}")
        if self.top_k is not None and self.top_k < 1:
            raise ConfigError(f"top-k must be at least 1, not {self.top_k}")
        if not 0 < self.top_p <= 1:
            raise ConfigError(f"top-p must lie in (0, 1], not {self.top_p}")
        if not 0 <= self.seed <= LARGEST:
            raise ConfigError(f"the seed must lie in 0 ... 2**64 - 1, not {self.seed}")

    def numbers(self, image: int, group: int, count: int) -> list[float]:
        """Return a random number in [0, 1) for each position of a group, which depends on its address only."""
        uniform: list[float] = generator(self.seed, STREAM, image, group).random(count).tolist()
        return uniform

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return the probabilities [b v] that tokens are drawn with, float64 (float32 on MPS, which has no float64).

        Args:
            logits: [b v] of any dtype.
        """
        logits = logits.to(torch.float32 if logits.device.type == "mps" else torch.float64)
        if self.temperature == 0:
            best = logits.argmax(dim=-1, keepdim=True)
            return torch.zeros_like(logits).scatter(-1, best, 1.0)
        probabilities = (logits / self.temperature).softmax(dim=-1)
        if self.top_k is None and self.top_p == 1:
            return probabilities
        ranked, order = probabilities.sort(dim=-1, descending=True, stable=True)
        if self.top_k is not None:
            ranked[:, self.top_k :] = 0
            ranked = ranked / ranked.sum(dim=-1, keepdim=True)
        # A token is kept if the more probable ones do not reach `top_p` yet, so the most probable one always is.
        kept = ranked.cumsum(dim=-1) - ranked < self.top_p
        ranked = ranked * kept
        return torch.zeros_like(probabilities).scatter(-1, order, ranked / ranked.sum(dim=-1, keepdim=True))

    def draw(self, logits: Tensor, numbers: Tensor) -> Tensor:
        """Draw a token for each row by inverting the cumulative distribution, in the order of the vocabulary.

        Args:
            logits: [b v].
            numbers: Random numbers in [0, 1), [b].

        Returns:
            The ids [b] int64.
        """
        cumulative = self.probabilities(logits).cumsum(dim=-1)
        values = numbers.to(cumulative.dtype)[:, None] * cumulative[:, -1:]
        # Rounding may lift a value to the total. The result must still be the last token of nonzero probability.
        last = (cumulative < cumulative[:, -1:]).sum(dim=-1, keepdim=True)
        return torch.searchsorted(cumulative, values, right=True).minimum(last)[:, 0]
