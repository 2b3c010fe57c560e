"""Measures, on validation images, how much sharper the pool of a classifier has to be on larger images.

At the size of training, a latent of ground needs to weigh only a few times less than that of an object. In an image
with ten times as much ground and the same objects, the ground has most of the weight. The same pool finds the objects
if its scores are multiplied by a factor. Each validation image is enlarged in the pool (`models/enlarged.py`), and the
smallest factors are kept with which the loss stays that of the images, or is as low as with any factor.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fitcli.runs.targets import Target
from fitcli.tasks.classify.targets.joint_loss import loss_of_targets
from fitcli.tasks.classify.targets.rows import answer_rows
from models.enlarged import enlarged_logits
from models.pooling import AttentionPool
from models.sharpening import PLAIN, Sharpening

TIMES = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Numbers of latents of the enlarged images, by those of the images; the first is their own size.

Beyond the last, the factor stays: copies of the same ground make very large images look harder than they are, and a
factor that is too large lets a few groups of ground speak for the image.
"""

FACTORS = (1.0, 1.125, 1.25, 1.375, 1.5, 1.625, 1.75, 2.0, 2.25, 2.5, 3.0)
"""Factors of the scores that are tried; the first leaves them as they are."""

TOLERANCE = 0.05
"""Loss of enlarged images, beyond that of the images, that asks for no factor."""

LEAST_IMAGES = 8
"""Number of validation images from which on factors are chosen."""


ROUNDING = 1 + 1e-9
"""Allowance for rounding in the comparison of a mean with its standard error."""


class EnlargedLosses(NamedTuple):
    """What one image says.

    Attributes:
        latents: Number of its latents.
        losses: [r f], its loss when it is enlarged by each of `TIMES`, with each of `FACTORS`.
    """

    latents: int
    losses: list[list[float]]


def enlarged_losses(head: AttentionPool, latents: Tensor, answer: Any, targets: Sequence[Target]) -> EnlargedLosses:
    """Return the losses of an enlarged image.

    Args:
        head: The pool.
        latents: [g m d], normalised.
        answer: `Sample.target` of the image.
        targets: All targets, if there are several or one is multi-label; else empty.
    """
    logits = enlarged_logits(head, latents, TIMES, FACTORS).double().cpu()
    return EnlargedLosses(latents.shape[0] * latents.shape[1], _losses(logits, answer, targets).tolist())


def _losses(logits: Tensor, answer: Any, targets: Sequence[Target]) -> Tensor:
    """Return the loss of each row of logits [... k] for the same answer."""
    if not targets:
        return -logits.log_softmax(dim=-1)[..., answer]
    row = answer_rows(targets, [answer]).to(logits.dtype)
    each = [loss_of_targets(one[None], row, targets) for one in logits.flatten(0, -2)]
    return torch.stack(each).reshape(logits.shape[:-1])


def choose_sharpening(images: Sequence[EnlargedLosses]) -> Sharpening:
    """Return the smallest factors that keep the loss, by the number of latents.

    Images with no more latents than the largest validation image keep their scores.
    """
    if len(images) < LEAST_IMAGES:
        return PLAIN
    losses = np.array([image.losses for image in images])
    counts = np.array([image.latents for image in images])
    points, chosen = [(float(counts.max()), FACTORS[0])], 0
    for number, times in enumerate(TIMES[1:], start=1):
        chosen = max(chosen, _smallest(losses[:, number], losses[:, 0, 0].mean() + TOLERANCE))
        size = times * float(np.median(counts))
        if size > points[-1][0]:
            points.append((size, FACTORS[chosen]))
    kept = _without_flat_ends(points)
    return Sharpening(tuple(size for size, _ in kept), tuple(factor for _, factor in kept))


def _smallest(losses: NDArray[np.float64], enough: float) -> int:
    """Return the number of the smallest factor whose mean loss is enough, or not clearly above the lowest of all.

    Not clearly: by at most the standard error of the difference (Breiman et al. 1984, the rule of one standard error).
    The gain of a single image, however great, is no more than that.

    Args:
        losses: [i f].
        enough: A loss.
    """
    means = losses.mean(axis=0)
    differences = losses - losses[:, [means.argmin()]]
    errors = differences.std(axis=0, ddof=1) / math.sqrt(len(losses))
    return int(((means <= enough) | (differences.mean(axis=0) <= errors * ROUNDING)).argmax())


def _without_flat_ends(points: Sequence[tuple[float, float]]) -> Sequence[tuple[float, float]]:
    """Leave out the points of a curve before it begins to rise and after it ends."""
    rising = [number for number in range(1, len(points)) if points[number][1] > points[number - 1][1]]
    return points[rising[0] - 1 : rising[-1] + 1] if rising else ()
