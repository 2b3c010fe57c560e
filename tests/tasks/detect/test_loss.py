"""The loss of cells, against its formulas one cell at a time."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from support.detect_models import overlap

from fitcli.tasks.detect.loss import (
    BOX_WEIGHT,
    CLASS_WEIGHT,
    PRIOR_LOGIT,
    CellTruth,
    DetectionLoss,
    distances,
    generalized_overlap,
)

GROUPS, CELLS, CLASSES, HALF = 2, 5, 2, 1.5


def truth() -> CellTruth:
    counted = torch.ones(GROUPS, CELLS, dtype=torch.bool)
    counted[1, 4] = False
    return CellTruth(
        counted=counted,
        # The fourth cell of the second group is the middle of both classes.
        heat_keys=torch.tensor([0, 3, 12, 16, 17, 18]),
        heat=torch.tensor([1.0, 0.5, 1.0, 1.0, 1.0, 1.0]),
        box_keys=torch.tensor([0, 6]),
        sides=torch.tensor([[1.0, 2.0, 3.0, 4.0], [0.5, 0.5, 1.0, 1.0]]),
        weights=torch.tensor([0.75, 1.0]),
    )


def values() -> torch.Tensor:
    return torch.randn(GROUPS, CELLS, CLASSES + 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_equal_to_the_formulas() -> None:
    given, target = values(), truth()
    heat = np.zeros(GROUPS * CELLS * CLASSES)
    heat[target.heat_keys] = target.heat
    heat = heat.reshape(GROUPS, CELLS, CLASSES)
    expected = np.zeros(GROUPS)
    for group in range(GROUPS):
        for cell in range(CELLS):
            if not target.counted[group, cell]:
                continue
            for kind in range(CLASSES):
                p = 1 / (1 + math.exp(-(float(given[group, cell, kind]) + PRIOR_LOGIT)))
                y = heat[group, cell, kind]
                expected[group] -= (1 - p) ** 2 * math.log(p) if y == 1 else (1 - y) ** 4 * p**2 * math.log(1 - p)
            logits = [float(each) for each in given[group, cell, :CLASSES]]
            none = sum(math.exp(logit) for logit, y in zip(logits, heat[group, cell], strict=True) if y != 1)
            for logit, y in zip(logits, heat[group, cell], strict=True):
                expected[group] -= CLASS_WEIGHT * math.log(math.exp(logit) / (math.exp(logit) + none)) if y == 1 else 0
    for key, sides, weight in zip(
        target.box_keys.tolist(), target.sides.tolist(), target.weights.tolist(), strict=True
    ):
        group, cell = divmod(key, CELLS)
        found = [HALF * math.exp(v) for v in given[group, cell, CLASSES:].tolist()]
        one, other = ((-s[1], -s[0], s[3], s[2]) for s in (found, sides))
        iou = overlap(one, other)
        hull = (max(one[2], other[2]) - min(one[0], other[0])) * (max(one[3], other[3]) - min(one[1], other[1]))
        area = [(b[2] - b[0]) * (b[3] - b[1]) for b in (one, other)]
        union = sum(area) / (1 + iou)
        expected[group] += BOX_WEIGHT * weight * (1 - (iou - (hull - union) / hull))
    result = DetectionLoss(CLASSES, HALF).of(given, target)
    np.testing.assert_allclose(result.numpy(), expected, rtol=1e-6)


def test_points_have_no_boxes() -> None:
    given = values()[..., :CLASSES]
    whole = DetectionLoss(CLASSES, 0.0).of(given, truth())
    assert whole.shape == (GROUPS,)
    assert (whole > 0).all()


def test_a_single_class_has_no_others() -> None:
    """The loss of one class is that of its heat, as if nothing asked for a class."""
    given, one = (
        values()[..., :1],
        truth()._replace(heat_keys=torch.tensor([0, 3, 8]), heat=torch.tensor([1.0, 0.5, 1])),
    )
    loss = DetectionLoss(1, 0.0)
    np.testing.assert_array_equal(loss.of(given, one), loss._heat(given + PRIOR_LOGIT, one))
    assert loss._classes(given, one).abs().max() == 0


def test_a_new_model_believes_in_one_in_a_hundred() -> None:
    assert torch.tensor(PRIOR_LOGIT).sigmoid().item() == pytest.approx(0.01)
    assert distances(torch.zeros(4), HALF).tolist() == [HALF] * 4


def test_extreme_values_stay_finite_and_have_gradients() -> None:
    given = torch.tensor([-1e4, 1e4, 40.0, -40.0]).repeat(GROUPS, CELLS, 2)[..., :6].requires_grad_()
    loss = DetectionLoss(CLASSES, HALF).of(given, truth()).sum()
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(given.grad).all()  # type: ignore[union-attr]


def test_equal_boxes_overlap_whole() -> None:
    sides = torch.rand(5, 4) + 0.1
    assert torch.allclose(generalized_overlap(sides, sides), torch.ones(5))
