"""The loss of one class per image, in batches of any size."""

from __future__ import annotations

import pytest
import torch

from fitcli.tasks.classify.losses import mean_cross_entropy
from fitcli.tasks.classify.objective import balanced_weights


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
