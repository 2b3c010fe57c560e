"""A forward pass gives the latents of the trunk and the losses of the step, without a graph."""

from __future__ import annotations

import pytest
from support.steps import CONFIGS, PLANS, Step

from fitcli.execution.forward import group_losses, last_latents
from fitcli.execution.job import EVERY
from fitcli.execution.plan import ExecutionPlan

EVERY_PLAN = {"plain": ExecutionPlan(), **PLANS}


@pytest.mark.walk
@pytest.mark.parametrize("kind", ["whole", "ragged", "one group"])
@pytest.mark.parametrize("name", CONFIGS)
def test_latents_are_those_of_the_trunk(name: str, kind: str) -> None:
    job = Step(CONFIGS[name], kind).job()
    context = None if job.context is None else job.context()
    real = job.real(EVERY)
    expected = job.trunk(job.embed(EVERY, real), job.start(), job.groups, real, context)[1].detach()
    for plan_name, plan in EVERY_PLAN.items():
        latents = last_latents(job, plan)
        assert not latents.requires_grad
        assert (latents - expected).abs().max() < 1e-9, plan_name


@pytest.mark.walk
@pytest.mark.parametrize("kind", ["whole", "ragged", "one group"])
@pytest.mark.parametrize("name", [name for name in CONFIGS if name.startswith(("denoiser", "decoder"))])
def test_losses_of_groups_add_up_to_that_of_the_step(name: str, kind: str) -> None:
    step = Step(CONFIGS[name], kind)
    expected = step.plain().item()
    for plan_name, plan in EVERY_PLAN.items():
        losses = group_losses(step.job(), plan)
        assert losses.shape == step.groups.number.shape
        assert not losses.requires_grad
        assert losses.sum().item() == pytest.approx(expected, rel=1e-12), plan_name
