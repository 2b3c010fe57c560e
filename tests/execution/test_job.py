"""A job refuses a loss that depends on nothing, and cuts the groups into handfuls that one call can take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from support.steps import CONFIGS, DECODER, Step
from torch import Tensor

from fitcli.execution.job import Job, LatentLoss, largest_handful
from fitcli.execution.plan import ExecutionPlan
from fitcli.tasks.classify.step import classification_job
from models.build import build
from models.config import DecoderConfig
from models.groups import Groups
from models.presets import classifier_preset


def test_a_loss_that_depends_on_nothing_is_refused() -> None:
    step = Step(CONFIGS["denoiser"])
    loss_from_latents: Callable[[Tensor], LatentLoss] = lambda latents: LatentLoss(latents.sum())  # noqa: E731
    for changes in ({"loss_from_latents": None}, {"loss_from_latents": loss_from_latents}):
        with pytest.raises(ValueError, match="nothing depends on the last segment"):
            Job(trunk=step.model.trunk, groups=step.groups, embed=step.patches, start=torch.zeros, **changes)


def test_handfuls_stay_below_what_attention_takes() -> None:
    """25,600 x 25,600 pixels are 10,000 groups: more heads, and more values in a layer, than one call takes."""
    config = classifier_preset("base", channels=3, classes=2)
    assert largest_handful(config) == 4095 == (2**31 - 1) // (256 * 4 * 512)
    assert largest_handful(replace(config, tokens=16)) == 8191 == 65_535 // 8
    model, groups = build(config, "meta"), Groups.of_grid(images=1, rows=100, columns=100)
    job = classification_job(model, groups, lambda part, real: torch.empty(0), torch.sum)
    assert [part.stop for part in job.parts(ExecutionPlan(kind="stream", handful=20_000))] == [4095, 8190, 10_000]
    assert largest_handful(DecoderConfig(plan="(1)1(1)", **DECODER | {"tokens": 2**20, "vocabulary": 2**9})) == 3
