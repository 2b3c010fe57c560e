"""How much sharper the softmax of the pooling head is for images larger than those of training.

A larger image with as many objects has more ground, which takes weight from the objects. So the scores of the latents
are multiplied by a factor that grows with their number. The factors are measured in validation, see `enlarged.py`.
Never imports torch: `config.json` holds the factors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from models.checks import ConfigError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Sharpening:
    """Factor of the pooling scores by the number of latents of an image.

    Between two of the numbers, the factor is interpolated in the logarithm of the number of latents; below the first
    and beyond the last, it is constant.

    Attributes:
        latents: Numbers of latents in ascending order; empty for a factor of 1 at any number.
        factors: Factor at each of them; the first is 1, and none is smaller than the one before.

    Raises:
        ConfigError: The numbers are no such curve.
    """

    latents: tuple[float, ...] = ()
    factors: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if len(self.latents) != len(self.factors):
            raise ConfigError(f"{len(self.latents)} numbers of latents do not go with {len(self.factors)} factors")
        if not all(map(math.isfinite, (*self.latents, *self.factors))):
            raise ConfigError("the numbers of latents and the factors of a sharpening are finite")
        if any(before >= after for before, after in pairwise((0.0, *self.latents))):
            raise ConfigError("the numbers of latents of a sharpening are positive and ascend")
        if self.factors[:1] not in ((), (1.0,)) or any(before > after for before, after in pairwise(self.factors)):
            raise ConfigError("the factors of a sharpening begin with 1 and do not fall")

    def sharpen(self, scores: Tensor, count: Tensor) -> Tensor:
        """Return scores times the factor for images of `count` latents, which broadcasts to the scores."""
        if not self.latents:
            return scores
        size = count.clamp(min=1).log()
        factor: Tensor | float = 1.0
        for (start, low), (end, high) in pairwise(zip(map(math.log, self.latents), self.factors, strict=True)):
            factor = factor + (high - low) * ((size - start) / (end - start)).clamp(0, 1)
        return scores * factor


PLAIN = Sharpening()
"""The scores as they are, whatever the size."""
