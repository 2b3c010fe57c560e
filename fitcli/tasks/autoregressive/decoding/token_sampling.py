"""Which token comes next: a draw from the logits, by numbers that are addressed and not drawn in order."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from fitcli.noise import LARGEST, generator
from models.checks import ConfigError

STREAM = "next token"
"""Keeps these numbers apart from others that are drawn from the same seed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Draws:
    """How tokens are drawn.

    Attributes:
        temperature: The logits are divided by it: below 1 likelier tokens get likelier still; 0 always takes the
            likeliest.
        top_k: Only the k likeliest tokens are drawn; None for all.
        top_p: Only the likeliest tokens are drawn, as few as together have this probability (nucleus sampling, Holtzman
            et al. 2020, arXiv:1904.09751, section 3.1); in (0, 1].
        seed: Of all draws, 0 ... 2**64 - 1.
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
        """Uniform in [0, 1), one for each place of a group; they depend on seed, image, group and place alone."""
        uniform: list[float] = generator(self.seed, STREAM, image, group).random(count).tolist()
        return uniform

    def probabilities(self, logits: Tensor) -> Tensor:
        """What is drawn from: [b v] of any dtype -> [b v] float64, summing to 1 (float32 where there is no float64)."""
        logits = logits.to(torch.float32 if logits.device.type == "mps" else torch.float64)
        if self.temperature == 0:
            likeliest = logits.argmax(dim=-1, keepdim=True)
            return torch.zeros_like(logits).scatter(-1, likeliest, 1.0)
        chances = (logits / self.temperature).softmax(dim=-1)
        if self.top_k is None and self.top_p == 1:
            return chances
        ranked, order = chances.sort(dim=-1, descending=True, stable=True)
        if self.top_k is not None:
            ranked[:, self.top_k :] = 0
            ranked = ranked / ranked.sum(dim=-1, keepdim=True)
        # A token is kept where those before it do not have the probability yet: the likeliest one always is.
        kept = ranked.cumsum(dim=-1) - ranked < self.top_p
        ranked = ranked * kept
        return torch.zeros_like(chances).scatter(-1, order, ranked / ranked.sum(dim=-1, keepdim=True))

    def draw(self, logits: Tensor, numbers: Tensor) -> Tensor:
        """A token for each row of logits [b v] by a number in [0, 1) [b] -> ids [b] int64.

        The token into whose share of [0, 1) the number falls, the shares being laid out in the order of the vocabulary.
        """
        shares = self.probabilities(logits).cumsum(dim=-1)
        places = numbers.to(shares.dtype)[:, None] * shares[:, -1:]
        # Rounding may put a number on the end of the last share: that is not the end of the vocabulary where the last
        # tokens have no share at all.
        last = (shares < shares[:, -1:]).sum(dim=-1, keepdim=True)
        return torch.searchsorted(shares, places, right=True).minimum(last)[:, 0]
