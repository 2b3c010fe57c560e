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
        multiclass_calibration_error,
        multiclass_confusion_matrix,
    )

    given, chances = torch.tensor(labels), torch.tensor(probabilities)
    classes = chances.shape[1]
    confusion = multiclass_confusion_matrix(chances, given, num_classes=classes)
    right, all_of = confusion.diag().double(), confusion.sum(dim=1).double()
    occurring = confusion.sum(dim=1) > 0
    recalls = right[occurring] / all_of[occurring]
    present = occurring.nonzero()[:, 0].tolist()
    areas = [float(binary_auroc(chances[:, k], (given == k).long())) for k in present if len(present) > 1]
    likelihood = chances[torch.arange(len(given)), given].clamp(min=1e-12)
    return {
        "accuracy": float(right.sum() / all_of.sum()),
        "balanced_accuracy": float(recalls.mean()),
        "auroc": float(np.mean(areas)) if areas else None,
        "calibration_error": float(multiclass_calibration_error(chances, given, num_classes=classes, n_bins=BINS)),
        "loss": float(-likelihood.log().mean()),
        "confusion": confusion.tolist(),
    }


def multi_label_scores(probabilities: NDArray[np.float64], held: NDArray[np.bool_]) -> dict[str, Any]:
    """What the predictions are worth where any number of classes holds; a class is said to hold above one half.

    Args:
        probabilities: [i k], each in [0, 1].
        held: [i k], whether a class holds.

    Returns:
        `accuracy`, the share of images of which every class is right (subset accuracy); `class_accuracy`, the share of
        right answers over all images and classes; `f1`, the mean over the classes of the F1 score, 0 for one that is
        neither there nor said; `loss`, the mean binary cross-entropy in nats.
    """
    right = (probabilities > 0.5) == held
    hits = ((probabilities > 0.5) & held).sum(axis=0)
    wrong = (~right).sum(axis=0)
    likelihood = np.maximum(np.where(held, probabilities, 1 - probabilities), 1e-12)
    return {
        "accuracy": float(right.all(axis=1).mean()),
        "class_accuracy": float(right.mean()),
        "f1": float((2 * hits / np.maximum(2 * hits + wrong, 1)).mean()),
        "loss": float(-np.log(likelihood).mean()),
    }
