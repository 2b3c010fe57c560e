"""The pass of `fit segment` and validation over a sample image, to be estimated or measured."""

from __future__ import annotations

import torch

from fitcli.tasks.dense.dense_sample import DenseSample
from models.config import DenseConfig

TYPICAL_CLASSES, MOST_TYPICAL_CLASSES = 8, 8
"""Number of classes for which there is a table of memory, and up to how many classes a model takes about as much."""


def _predicted(logits: torch.Tensor, config: DenseConfig) -> None:
    """Compute the classes of cells, which takes the memory of what follows the head."""
    logits.argmax(dim=-1).to(torch.uint8)


SEGMENTING = DenseSample("segmenting", TYPICAL_CLASSES, MOST_TYPICAL_CLASSES, _predicted)
