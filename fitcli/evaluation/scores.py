"""Scores of a classifier from the probabilities that it gave. torchmetrics computes them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

BINS = 15
"""Of confidence, in the calibration error."""


def classification_scores(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> dict[str, Any]:
    """What the predictions for some images are worth.

    Args:
        probabilities: [i k], rows that sum to 1.
        labels: [i], in [0, k).

    Returns:
        `accuracy`; `balanced_accuracy`, the mean over the classes that occur of the share of their images that were
        recognised; `auroc`, the area under the ROC curve of each class against the rest, its mean over the classes that
        occur, None where only one does; `calibration_error`, the expected one (Guo et al. 2017, arXiv:1706.04599,
        section 2) in 15 bins of confidence; `loss`, the mean cross-entropy in nats; `confusion` [k k], images by label
        (row) and prediction (column).
    """
    from torchmetrics.functional.classification import (
        binary_auroc,
        multiclass_accuracy,
        multiclass_calibration_error,
        multiclass_confusion_matrix,
    )

    given, chances = torch.tensor(labels), torch.tensor(probabilities)
    classes = chances.shape[1]
    confusion = multiclass_confusion_matrix(chances, given, num_classes=classes)
    occurring = confusion.sum(dim=1) > 0
    recalls = confusion.diag()[occurring] / confusion.sum(dim=1)[occurring]
    present = occurring.nonzero()[:, 0].tolist()
    areas = [float(binary_auroc(chances[:, k], (given == k).long())) for k in present if len(present) > 1]
    likelihood = chances[torch.arange(len(given)), given].clamp(min=1e-12)
    return {
        "accuracy": float(multiclass_accuracy(chances, given, num_classes=classes, average="micro")),
        "balanced_accuracy": float(recalls.mean()),
        "auroc": float(np.mean(areas)) if areas else None,
        "calibration_error": float(multiclass_calibration_error(chances, given, num_classes=classes, n_bins=BINS)),
        "loss": float(-likelihood.log().mean()),
        "confusion": confusion.tolist(),
    }
