"""The step of segmentation: the loss of pixels, in every execution."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from support.ranks import run_on_all
from support.steps import CONFIGS, PLANS, Step, assert_same_gradients
from torch import Tensor

from fitcli.annotations.class_table import IGNORED
from fitcli.data.batch import Batch
from fitcli.execution.plan import ExecutionPlan
from fitcli.execution.run import run_job
from fitcli.tasks.segment.label_patches import LabelPatches
from fitcli.tasks.segment.loss import CellLoss
from fitcli.tasks.segment.objective import SegmentationObjective
from fitcli.tasks.segment.options import SegmentOptions
from models.config import DenseConfig
from models.dense import by_cell, class_counts

DENSE = [name for name, config in CONFIGS.items() if isinstance(config, DenseConfig)]


def objective_of(step: Step, weights: Tensor | None = None, **options: Any) -> SegmentationObjective:
    settings = SimpleNamespace(options=SegmentOptions(**options), seed=0)
    run: Any = SimpleNamespace(settings=settings, config=SimpleNamespace(classes=tuple("abcd")))
    channels = torch.full((3,), 120.0), torch.full((3,), 60.0)
    return SegmentationObjective(
        mean=channels[0], std=channels[1], loss=CellLoss(weights), loss_on_host=CellLoss(weights), run=run
    )


def batch_of(step: Step, labels: Tensor) -> Batch:
    count = len(step.groups.number)
    gain, shift = torch.linspace(0.9, 1.1, count)[:, None, None], torch.linspace(-0.1, 0.1, count)[:, None, None]
    return Batch(step.pixels, step.groups, LabelPatches(labels), gain, shift)


@pytest.mark.walk
@pytest.mark.parametrize("weights", [None, (1.0, 2.0, 0.5, 1.5)])
@pytest.mark.parametrize("groups", ["whole", "ragged", "one group"])
@pytest.mark.parametrize("name", DENSE)
def test_the_objective_is_the_cross_entropy_of_pixels(
    name: str, groups: str, weights: tuple[float, ...] | None
) -> None:
    step = Step(CONFIGS[name], groups, torch.float32)
    config, table = step.model.config, None if weights is None else torch.tensor(weights)
    generator, shape = torch.Generator().manual_seed(3), (*step.pixels.shape[:2], config.patch**2)
    labels = torch.randint(0, 5, shape, generator=generator).to(torch.uint8)
    labels[labels == 4] = IGNORED
    batch, objective = batch_of(step, labels), objective_of(step, table)
    pixels = (step.pixels.float() - 120) / 60 * batch.gain + batch.shift
    logits = by_cell(step.model(pixels, step.groups), config.outputs)  # [g n q*q k]
    side = config.cell
    cells = torch.arange(config.patch).div(side, rounding_mode="floor")
    cell_of_pixel = (cells[:, None] * config.cells + cells).flatten()
    real = torch.ones(shape[:2], dtype=torch.bool) if step.groups.mask is None else step.groups.mask
    loss = F.cross_entropy(
        logits[real][:, cell_of_pixel].flatten(0, 1), labels[real].flatten().long(), table, ignore_index=IGNORED
    )
    loss.backward()
    expected = step.gradients()
    for plan in (ExecutionPlan(), *PLANS.values()):
        outcome = run_job(objective.job(step.model, batch), plan)
        assert outcome.loss == pytest.approx(float(loss.detach()), rel=1e-5)
        assert_same_gradients(step.gradients(), expected, 1e-4)
    counted = class_counts(labels[real], config.cells, config.patch, 4).sum(dim=(0, 1))
    assert objective.weight(batch) == pytest.approx(float((counted * (1 if table is None else table)).sum()))


@pytest.mark.walk
@pytest.mark.parametrize("plan", ["all replayed", "streamed, reruns"])
@pytest.mark.parametrize("known", [slice(None), slice(0, 1), slice(-1, None)], ids=["all", "first group", "last group"])
@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_that_share_images_have_the_step_of_one(ranks: int, known: slice, plan: str) -> None:
    """Each weighs its groups by their labelled pixels; some have none, and some have no group of an image."""
    step = Step(CONFIGS[DENSE[0]], "ragged", torch.float32)
    labels = torch.full_like(step.classes, IGNORED)
    labels[known] = step.classes[known]
    labels[:, 0, 0] = IGNORED
    step.classes = labels

    def compute(step: Step, total: float, plan: ExecutionPlan) -> tuple[float, dict[str, Tensor | None]]:
        count = len(step.groups.number)
        one, zero = torch.ones(count, 1, 1), torch.zeros(count, 1, 1)
        batch, objective = Batch(step.pixels, step.groups, LabelPatches(step.classes), one, zero), objective_of(step)
        weight = objective.weight(batch) / total
        outcome = run_job(objective.job(step.model, batch), plan, weight)
        return float(outcome.loss) * weight, step.gradients()

    mask = step.groups.mask
    total = float((labels if mask is None else labels[mask]).ne(IGNORED).sum())
    assert total > 0
    loss, expected = compute(step, total, ExecutionPlan())
    shares, _ = run_on_all(ranks, lambda rank, gather: compute(step.share(rank, ranks, gather), total, PLANS[plan]))
    assert sum(part for part, _ in shares) == pytest.approx(loss, rel=1e-5)
    summed: dict[str, Tensor | None] = {}
    for name in expected:
        parts = [part for _, gradients in shares if (part := gradients[name]) is not None]
        summed[name] = torch.stack(parts).sum(dim=0) if parts else None
    assert_same_gradients(summed, expected, 1e-4)


@pytest.mark.walk(4)
@pytest.mark.parametrize("plan", PLANS)
def test_images_without_labels_count_nothing(plan: str) -> None:
    step = Step(CONFIGS[DENSE[0]], "ragged", torch.float32)
    labels = torch.full((*step.pixels.shape[:2], step.model.config.patch**2), IGNORED, dtype=torch.uint8)
    objective, batch = objective_of(step), batch_of(step, labels)
    assert objective.weight(batch) == 0
    outcome = run_job(objective.job(step.model, batch), PLANS[plan])
    assert float(outcome.loss) == 0
    assert all(not gradient.any() for gradient in step.gradients().values() if gradient is not None)
