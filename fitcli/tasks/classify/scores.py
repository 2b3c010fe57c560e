"""Computes the scores of a classifier from its probabilities, with torchmetrics."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

BINS = 15
"""Number of bins of confidence in the calibration error."""


def classification_scores(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> dict[str, Any]:
    """Score predictions of one class per image.

    Args:
        probabilities: [i k], rows that sum to 1.
        labels: [i], in [0, k).

    Returns:
        - `accuracy`: share of the images that are classified correctly;
        - `balanced_accuracy`: mean of the recall over the classes that occur;
        - `auroc`: area under the ROC curve of each class against the rest, mean over the classes that occur; None if
          only one class occurs;
        - `calibration_error`: expected calibration error in 15 bins of confidence (Guo et al. 2017, arXiv:1706.04599,
          section 2);
        - `loss`: mean cross-entropy, in nats;
        - `confusion`: [k k], number of images by label (row) and prediction (column).
    """
    from torchmetrics.functional.classification import (
        binary_auroc,
        multiclass_calibration_error,
        multiclass_confusion_matrix,
    )

    given, predicted = torch.tensor(labels), torch.tensor(probabilities)
    classes = predicted.shape[1]
    confusion = multiclass_confusion_matrix(predicted, given, num_classes=classes)
    correct, images = confusion.diag().double(), confusion.sum(dim=1).double()
    occurring = images > 0
    recalls = correct[occurring] / images[occurring]
    present = occurring.nonzero()[:, 0].tolist()
    areas = [float(binary_auroc(predicted[:, k], (given == k).long())) for k in present if len(present) > 1]
    likelihood = predicted[torch.arange(len(given)), given].clamp(min=1e-12)
    return {
        "accuracy": float(correct.sum() / images.sum()),
        "balanced_accuracy": float(recalls.mean()),
        "auroc": float(np.mean(areas)) if areas else None,
        "calibration_error": float(multiclass_calibration_error(predicted, given, num_classes=classes, n_bins=BINS)),
        "loss": float(-likelihood.log().mean()),
        "confusion": confusion.tolist(),
    }


def multi_label_scores(probabilities: NDArray[np.float64], held: NDArray[np.bool_]) -> dict[str, Any]:
    """Score predictions of any number of classes per image. A class is predicted above a probability of one half.

    Args:
        probabilities: [i k], each in [0, 1].
        held: [i k], whether a class applies.

    Returns:
        - `accuracy`: share of the images whose classes are all correct (subset accuracy);
        - `class_accuracy`: share of correct classes over all images;
        - `f1`: mean of the F1 score over the classes; a class that neither occurs nor is predicted counts as 0;
        - `loss`: binary cross-entropy, in nats, mean over images and classes; training and validation report the sum
          over the classes.
    """
    predicted = probabilities > 0.5
    correct = predicted == held
    hits = (predicted & held).sum(axis=0)
    errors = (~correct).sum(axis=0)
    likelihood = np.maximum(np.where(held, probabilities, 1 - probabilities), 1e-12)
    return {
        "accuracy": float(correct.all(axis=1).mean()),
        "class_accuracy": float(correct.mean()),
        "f1": float((2 * hits / np.maximum(2 * hits + errors, 1)).mean()),
        "loss": float(-np.log(likelihood).mean()),
    }
