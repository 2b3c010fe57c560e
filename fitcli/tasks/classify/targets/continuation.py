"""Steps that are taken one after the other until one stops: levels of an order, and intervals of time.

The probability of stopping at a step, having come so far, is the sigmoid of its output (its hazard). So the
probability of coming further than a step falls from step to step, whatever the outputs are.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fitcli.tasks.classify.targets.kind import Numbers, known_mean


def continuation_loss(hazards: Tensor, rows: Tensor) -> Tensor:
    """Return the negative log-likelihood, summed over the known images and divided by the number of all.

    Args:
        hazards: Logits of stopping at each step [b o].
        rows: Number of steps that were passed, and whether the next one stopped [b 2]; NaN if it is not known.
    """
    known = ~rows.isnan().any(dim=1)
    passed, stops = rows.nan_to_num().unbind(dim=1)
    steps = torch.arange(hazards.shape[1], device=hazards.device, dtype=rows.dtype)
    went = (steps < passed[:, None]).to(hazards.dtype)
    ended = ((steps == passed[:, None]) & (stops[:, None] > 0)).to(hazards.dtype)
    # -log(1 - sigmoid(h)) = softplus(h), and -log(sigmoid(h)) = softplus(-h).
    return known_mean((F.softplus(hazards) * went + F.softplus(-hazards) * ended).sum(dim=1), known)


def passing(hazards: Tensor) -> Numbers:
    """Return the probability of coming further than each step, from the logits of stopping [o] float64."""
    return np.asarray(torch.exp(-F.softplus(hazards).cumsum(dim=-1)).cpu().numpy())


def likelihood_loss(further: Numbers, rows: Numbers) -> float:
    """Return the mean negative log-likelihood over images.

    Args:
        further: Probability of coming further than each step [i o].
        rows: As in `continuation_loss`, all known [i 2].
    """
    padded = np.concatenate([np.ones((len(further), 1)), further, np.zeros((len(further), 1))], axis=1)
    passed, images = rows[:, 0].astype(int), np.arange(len(rows))
    came, beyond = padded[images, passed], padded[images, passed + 1]
    return float(-np.log(np.maximum(np.where(rows[:, 1] > 0, came - beyond, came), 1e-12)).mean())
