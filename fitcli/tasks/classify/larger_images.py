"""Draws how much larger the images of a step seem to the pool, so that a model learns what it meets in large images.

See `models.pooling.enlarge`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from fitcli.noise import generator

STREAM = "larger images"
"""Name of the stream of random numbers."""


def draw_enlargement(showings: Sequence[tuple[int, int]], sides: int, epochs: float, seed: int) -> Tensor:
    """Draw how many times as large as it is each image of a batch seems, [b] float32 on the CPU.

    The logarithm is uniform: every doubling is equally likely. The largest image grows with the epochs of the first
    half of the run, because a model that has not learned its classes yet cannot learn them from rare objects.

    Args:
        showings: (epoch, sample number) of each image. Together with the seed they determine the draw.
        sides: Side of the largest image by that of the image, at least 1; the area is its square.
        epochs: Number of epochs of the run.
        seed: Seed of the run.
    """
    times = []
    for epoch, sample in showings:
        share = generator(seed, STREAM, image=sample, step=epoch).random() * min(1.0, (2 * epoch + 1) / epochs)
        times.append(math.exp(share * 2 * math.log(sides)))
    return torch.tensor(times)
