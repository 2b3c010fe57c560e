"""Autoregressive images: the next-token objective, and how the images of a run are sequences."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor

from fitcli.errors import CheckpointError
from fitcli.runs.config import RunConfig
from fitcli.tasks.autoregressive.sequences import SequenceConfig
from models.checks import ConfigError


def next_token_loss(logits: Tensor, targets: Tensor, smoothing: float = 0.0) -> Tensor:
    """Mean cross entropy in bits per token, a scalar.

    Args:
        logits: [... v], at each place for the token at that place.
        targets: [...] int64, in [0, v).
        smoothing: Share of the target probability that is spread evenly over all v tokens (Szegedy et al. 2016,
            arXiv:1512.00567, section 7), in [0, 1].

    Raises:
        ConfigError: Another smoothing.
    """
    if not 0 <= smoothing <= 1:
        raise ConfigError(f"label smoothing must lie in [0, 1], not {smoothing}")
    nats = F.cross_entropy(logits.flatten(0, -2), targets.flatten(), label_smoothing=smoothing)
    return nats / math.log(2)


def sequence_of(config: RunConfig) -> SequenceConfig:
    """Return how the images of a run become sequences.

    Raises:
        CheckpointError: The run is of another task.
    """
    if not isinstance(config.details, SequenceConfig):
        raise CheckpointError(f"a run of task {config.task!r} has no tokens; give one of --task autoregressive")
    return config.details
