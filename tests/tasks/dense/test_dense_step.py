"""The step of a loss over cells: what its losses are given, and that the divisor counts once."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from fitcli.execution.plan import ExecutionPlan
from fitcli.execution.run import run_job
from fitcli.tasks.dense.dense_step import dense_job, sample_patches
from models.build import build
from models.dense import by_cell
from models.groups import Groups
from models.presets import dense_preset
from models.real_tokens import WHOLE_GROUPS, RealTokens


@pytest.mark.parametrize("plan", [ExecutionPlan(), ExecutionPlan(kind="recompute", handful=1)])
def test_the_loss_is_the_sum_over_groups_divided_once(plan: ExecutionPlan) -> None:
    config = dense_preset("debug", 3, 2)
    model: Any = build(config, seed=1)
    groups = Groups.of_grid(1, 1, 2)
    pixels = torch.randint(256, (2, config.tokens, config.values), generator=torch.Generator().manual_seed(0))
    patches = sample_patches(lambda part: pixels[part].to(torch.uint8))

    def losses(part: slice, real: RealTokens, values: Tensor) -> Tensor:
        assert values.shape[-2:] == (config.cells**2, config.outputs)
        return real.unpack(values).square().sum(dim=(1, 2, 3))

    outcome = run_job(dense_job(model, groups, patches, losses, 8.0), plan)
    with torch.no_grad():
        values = by_cell(model(patches(slice(0, 2), WHOLE_GROUPS), groups), config.outputs)
    assert float(outcome.loss) == pytest.approx(float(values.square().sum()) / 8, rel=1e-4)
    assert model.head.weight.grad.abs().sum() > 0
