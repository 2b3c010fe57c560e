"""The loss of each image, so that the images with the worst answers can be shown."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fitcli.data.column_kinds import Answer
from fitcli.runs.targets import Target
from fitcli.tasks.classify.targets.kind import Numbers
from fitcli.tasks.classify.targets.kinds import kind_of


def image_loss(
    targets: Sequence[Target], predictions: Sequence[Sequence[float] | Numbers], answers: Sequence[Answer]
) -> float:
    """Return the mean loss of an image over the targets whose answers are known; 0 if none is.

    Args:
        targets: The targets.
        predictions: The prediction for each.
        answers: The answer to each.
    """
    losses = [
        kind_of(target).validate(target, np.array([prediction], np.float64), [answer]).loss
        for target, prediction, answer in zip(targets, predictions, answers, strict=True)
        if answer or kind_of(target).may_be_empty
    ]
    return float(np.mean(losses)) if losses else 0.0
