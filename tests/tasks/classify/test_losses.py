"""Loss, correctness and class weights of several targets, by their definitions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from fitcli.runs.targets import Target
from fitcli.tasks.classify.losses import (
    balanced_target_weights,
    correct_targets,
    loss_of_targets,
    mean_cross_entropy,
    multi_hot,
)
from fitcli.tasks.classify.objective import balanced_weights

TARGETS = (Target("kind", "single-label", ("cat", "dog", "owl")), Target("marks", "multi-label", ("a", "b")))

NUMBERS = torch.tensor([[0, 3, 4], [2, -1, -1], [1, 4, -1]])


def test_the_loss_by_its_definition() -> None:
    logits = torch.randn(3, 5, generator=torch.Generator().manual_seed(0))
    assert multi_hot(NUMBERS, 5).tolist() == [[1, 0, 0, 1, 1], [0, 0, 1, 0, 0], [0, 1, 0, 0, 1]]
    probabilities, each = logits[:, :3].softmax(1), logits[:, 3:].sigmoid()
    single = -(probabilities[0, 0].log() + probabilities[1, 2].log() + probabilities[2, 1].log()) / 3
    held = torch.tensor([[1.0, 1], [0, 0], [0, 1]])
    multi = -(held * each.log() + (1 - held) * (1 - each).log()).sum() / 3
    assert torch.allclose(loss_of_targets(logits, NUMBERS, TARGETS), (single + multi) / 2)
    smoothed = loss_of_targets(logits, NUMBERS, TARGETS, smoothing=0.2)
    first = F.cross_entropy(logits[:, :3], torch.tensor([0, 2, 1]), label_smoothing=0.2)
    held = 0.8 * held + 0.1
    second = -(held * each.log() + (1 - held) * (1 - each).log()).sum() / 3
    assert torch.allclose(smoothed, (first + second) / 2)


def test_a_class_that_holds_is_worth_what_all_others_are() -> None:
    weights = balanced_target_weights(torch.tensor([[0, 3], [0, -1], [1, -1], [2, -1]]), TARGETS)
    assert torch.allclose(weights, torch.tensor([4 / 6, 4 / 3, 4 / 3, 3.0, 3.0]))
    loss = loss_of_targets(torch.zeros(3, 5), NUMBERS, TARGETS, torch.tensor([1.0, 1, 1, 3, 1]))
    # Of six answers to yes or no, one is worth three.
    assert loss == pytest.approx((np.log(3) + np.log(2) * 8 / 3) / 2)


def test_a_prediction_is_correct_where_all_its_classes_are() -> None:
    logits = torch.tensor([[2.0, 1, 0, 1, 1], [2, 1, 0, -1, 1], [0, 1, 0, 1, 1]])
    assert correct_targets(logits, NUMBERS, TARGETS).tolist() == [[True, True], [False, False], [True, False]]


@pytest.mark.parametrize("batch_size", [1, 2, 4, 8, 16, 20])
def test_a_rare_class_has_its_share_of_the_loss_in_batches_of_any_size(batch_size: int) -> None:
    """Of 95 and 5 images the rare class has half of the balanced loss, as its class weights intend."""
    labels = torch.tensor(([0] * 19 + [1]) * 5)
    weights, logits = balanced_weights(labels, 2), torch.zeros(100, 2)

    def total(weights: torch.Tensor) -> float:
        """The loss over all images: each batch counts by its number of images."""
        batches = zip(logits.split(batch_size), labels.split(batch_size), strict=True)
        return sum(float(mean_cross_entropy(own, held, weights, 0.0)) * len(held) for own, held in batches)

    rare = total(weights * torch.tensor([0.0, 1.0])) / total(weights)
    assert rare == pytest.approx(0.5)
