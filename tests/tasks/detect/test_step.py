"""The step of every execution has the loss and the gradients of a plain forward pass."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from support.detect_models import random_boxes
from support.steps import CONFIGS, PLANS, Step

from fitcli.execution.job import Job
from fitcli.execution.plan import ExecutionPlan
from fitcli.execution.run import run_job
from fitcli.tasks.dense.dense_step import dense_job
from fitcli.tasks.detect.cell_layout import CellLayout
from fitcli.tasks.detect.draw_targets import draw_cells
from fitcli.tasks.detect.loss import DetectionLoss
from fitcli.tasks.detect.object_reader import CellTargets, targets_of
from fitcli.tasks.detect.step import object_losses
from models.config import DenseConfig
from models.dense import by_cell

CLASSES = 2
LOSS = DetectionLoss(CLASSES, 1.0)


class ObjectStep(Step):
    """A step of a small model with objects all over its groups."""

    def __init__(self, kind: str) -> None:
        dense = CONFIGS["dense, of overlapping convolutions"]
        assert isinstance(dense, DenseConfig)
        config = DenseConfig.from_dict(dense.to_dict() | {"outputs": CLASSES + 4, "cells": 2})
        super().__init__(config, kind)
        layout, count = CellLayout.of(config), len(self.groups.number)
        rng = np.random.default_rng(0)
        boxes = random_boxes(rng, 5 * count, layout.side * layout.cell * count, 5)
        boxes[:, [1, 3]] = boxes[:, [1, 3]] % (layout.side * layout.cell)
        boxes[:, [1, 3]] = np.sort(boxes[:, [1, 3]], axis=1) + np.array([0, 1])
        places = [(0, column) for column in range(count)]
        drawn = draw_cells(boxes, rng.integers(0, CLASSES, len(boxes)), layout, (1, count), places, CLASSES)
        counted = rng.random((count, layout.count)) < 0.9
        if self.groups.mask is not None:
            counted &= np.repeat(self.groups.mask.numpy(), config.cells**2, axis=1)
        self.objects: CellTargets = targets_of(drawn, counted, CLASSES)

    def job(self) -> Job:
        losses = object_losses(self.objects.part, LOSS)
        return dense_job(self.model, self.groups, self.packed, losses, self.objects.weight())

    def plain(self) -> torch.Tensor:
        values = by_cell(self.model(self.patches(slice(None)), self.groups), CLASSES + 4).flatten(1, 2)
        return LOSS.of(values, self.objects.part(slice(None))).sum() / self.objects.weight()


@pytest.mark.walk
@pytest.mark.parametrize("kind", ["whole", "ragged"])
@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS.keys())
def test_equal_to_the_forward_pass(plan: ExecutionPlan, kind: str) -> None:
    step = ObjectStep(kind)
    assert step.objects.objects > 3
    loss = step.plain()
    loss.backward()
    expected = step.gradients()
    outcome = run_job(step.job(), plan)
    torch.testing.assert_close(outcome.loss, loss.detach(), rtol=1e-6, atol=1e-9)
    found: dict[str, Any] = step.gradients()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-6, atol=1e-9, msg=lambda text, n=name: f"{n}: {text}")
