"""The weights that balance classes of unequal size."""

from __future__ import annotations

import pytest
import torch

from fitcli.tasks.classify.objective import balanced_weights


def test_balanced_weights_make_all_classes_count_alike() -> None:
    labels = torch.tensor([0] * 8 + [1] * 1 + [2] * 3)
    weights = balanced_weights(labels, 3)
    total = [float(weights[label]) * int((labels == label).sum()) for label in range(3)]
    assert total == pytest.approx([4.0, 4.0, 4.0])
    assert float(weights[labels].mean()) == pytest.approx(1.0)
