"""The next-token loss, on logits that are all in memory. `step.py` computes the same for a handful of groups."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor

from models.checks import ConfigError


def next_token_loss(logits: Tensor, next_ids: Tensor, smoothing: float = 0.0) -> Tensor:
    """Return the mean cross-entropy in bits per token, a scalar.

    Args:
        logits: [... v], the logits for the token at each position.
        next_ids: [...] int64, the token at each position, in [0, v).
        smoothing: Share of the target probability that is spread evenly over all v tokens (Szegedy et al. 2016,
            arXiv:1512.00567, section 7), in [0, 1].

    Raises:
        ConfigError: The smoothing lies outside [0, 1].
    """
    if not 0 <= smoothing <= 1:
        raise ConfigError(f"label smoothing must lie in [0, 1], not {smoothing}")
    nats = F.cross_entropy(logits.flatten(0, -2), next_ids.flatten(), label_smoothing=smoothing)
    return nats / math.log(2)
